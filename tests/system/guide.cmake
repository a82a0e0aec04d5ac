# Docs that are to be done, not only read. One server version will do.
reembed_system_test_newest(system_guide test_guide.py)
