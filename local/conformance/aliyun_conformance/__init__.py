"""The questions to a cloud: tests with the mark `real_cloud`, and what `aliyun-selftest` asks them with.

The tests of this project ask the local cloud, and `aliyun-selftest` an account that its owner has marked.
"""
