reembed_unit_test(test_comparison test_comparison_ranking.c test_comparison_sampling.c test_comparison_verdict.c test_comparison_queries.c
    LIBS reembed_coordinator m)
