"""Answers queries of the collection "docs", whichever model its vectors are by at the moment (psycopg 3).

A query a line on standard input, an answer a line on standard output. DATABASE_URL names the database, EMBEDDINGS_URL
the embeddings server.
"""
import json
import os
import sys
import urllib.request

import psycopg

SEARCH = """
    SELECT d.id, d.title, v.distance, v.model
      FROM (SELECT doc_id, model, embedding <=> %(vector)s::vector AS distance
              FROM reembed_data.docs_current
             ORDER BY embedding <=> %(vector)s::vector LIMIT 10) v
      JOIN docs d ON d.id = v.doc_id
     ORDER BY v.distance"""


def embed(model, text):
    """Your own function goes here. Models that want a prefix before queries get it here, too."""
    request = urllib.request.Request(os.environ["EMBEDDINGS_URL"] + "/embeddings",
                                     json.dumps({"model": model, "input": [text]}).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"][0]["embedding"]


def search(connection, text):
    """The model that answered, and the hits."""
    for _ in range(5):
        model, = connection.execute("SELECT query_model FROM reembed.routing WHERE collection = 'docs'").fetchone()
        vector = json.dumps(embed(model, text))
        try:
            hits = connection.execute(SEARCH, {"vector": vector}).fetchall()
        except psycopg.errors.DataException:
            continue  # queries went over meanwhile, to a model with other dimensions: ask again
        if all(hit[3] == model for hit in hits):
            return model, hits
        # queries went over meanwhile: these are another model's hits, ask again
    raise RuntimeError("the model changed at each of five attempts, or its vectors have other dimensions")


with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    for line in sys.stdin:
        model, hits = search(connection, line.rstrip("\n"))
        print(json.dumps({"model": model, "hits": [{"id": hit[0], "title": hit[1], "distance": hit[2]} for hit in hits]}),
              flush=True)
