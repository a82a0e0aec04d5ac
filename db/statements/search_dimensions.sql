SELECT {vector_schema}.vector_dims({space_column}) AS dimensions FROM {space} WHERE {space_column} IS NOT NULL LIMIT 1
