"""Both spaces of a migration: the old vectors as an application would have left them, and what queries find."""
import oracle

from lab import DIMENSIONS, OLD_MODEL

SOURCE_HASHING = {"source": {"provider": {"kind": "hashing"}}}


def fill_source(lab, journal, table="docs", key="id", column="embedding"):
    """The old model's vectors of all documents, as an application would have left them."""
    bodies = journal.bodies()
    made = oracle.vectors(OLD_MODEL, list(bodies.values()), DIMENSIONS)
    with lab.database.sql.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE made (id bigint, v text)")
        with cursor.copy("COPY made FROM STDIN") as copy:
            for key_, row in zip(bodies, made.tolist()):
                copy.write_row((int(key_), str(row)))
        if table == "docs":
            cursor.execute(f"UPDATE docs SET {column} = v::vector FROM made WHERE made.id = docs.id")
        else:
            cursor.execute(f"INSERT INTO {table} ({key}, {column}) SELECT id, v::vector FROM made")
        cursor.execute("DROP TABLE made")


def routing(lab):
    return lab.database.row("SELECT phase, query_model FROM reembed.routing WHERE collection = 'docs'")


def ask(lab, text, model, connection=None):
    """Nearest document of a text that is embedded with this model, through the view."""
    vector = oracle.vectors(model, [text], DIMENSIONS)[0].tolist()
    row = (connection or lab.database.sql).execute(
        "SELECT doc_id, model, embedding <=> %s::vector FROM reembed_data.docs_current ORDER BY 3 LIMIT 1",
        (str(vector),)).fetchone()
    return row


def answers(lab, journal, model):
    """The view holds this model's vectors of the present texts, and finds each document by its own text."""
    bodies = journal.bodies()
    for key in lab.random.sample(sorted(bodies), min(20, len(bodies))):
        found, by, distance = ask(lab, bodies[key], model)
        assert (str(found), by) == (key, model) and distance < 1e-6, (key, found, by, distance)
