"""What `zcbench check` runs: does a plug-in keep its promises?"""
