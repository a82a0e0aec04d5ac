-- What a former migration placed in a column becomes a column like any other, and in the same transaction changes are
-- recorded for it: none may fall between.  $1 migration id
SELECT reembed.settle_former($1), reembed.install_capture(m.collection) FROM reembed.migration m WHERE m.migration_id = $1
