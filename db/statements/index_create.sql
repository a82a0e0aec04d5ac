CREATE INDEX CONCURRENTLY {name} ON {target} USING {method} (embedding {opclass}) WITH ({options})
