# What the examples do does not depend on the server's version.
reembed_system_test_newest(system_applications test_applications.py)
