-- The extension's settings are known once it has been loaded.  $1 name
SELECT {vector_schema}.vector_dims('[1]'::{vector_schema}.vector) AS loaded, nullif(current_setting($1, true), '')::bigint AS value
