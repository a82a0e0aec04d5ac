-- All documents, with their places in the order in which they will be embedded; in no order, so that whoever stops
-- early has a random sample.
SELECT reembed_p.id, reembed_p.place
FROM (SELECT {alias}.{id} AS id, row_number() OVER (ORDER BY {alias}.{id}) AS place FROM {docs} AS {alias} WHERE {filter}) reembed_p
ORDER BY random()
