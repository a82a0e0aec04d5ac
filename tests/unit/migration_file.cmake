reembed_unit_test(test_migration_file test_migration_file.c test_migration_file_limits.c
    LIBS reembed_coordinator reembed_embed reembed_base)
