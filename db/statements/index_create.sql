CREATE INDEX CONCURRENTLY {name} ON {target} USING {method} ({column} {opclass}) WITH ({options})
