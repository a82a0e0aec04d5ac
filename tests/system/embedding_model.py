"""An embeddings server with planted models: texts that share words are near each other, the more exactly the better the
model. The name says how exactly: "planted-0.2" adds a little noise of its own to each text, "planted-3" a lot."""
import functools
import http.server
import json
import threading
import time

import numpy

DIMENSIONS = 32


@functools.lru_cache(maxsize=None)
def direction(word):
    """Of a word, or of the noise of a text: the same on every machine."""
    seed = int.from_bytes(word.encode()[-64:], "big") % 2 ** 63
    return numpy.random.default_rng(seed).standard_normal(DIMENSIONS) / DIMENSIONS ** 0.5


def vector(model, text):
    words = text.split()
    noise = float(model.rpartition("-")[2])
    total = sum(direction(word) for word in words) / len(words) ** 0.5 + noise * direction(f"{model} {text}"[-64:])
    return (total / numpy.linalg.norm(total)).astype("float32")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((time.monotonic(), body["model"]))
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        data = [{"object": "embedding", "index": number, "embedding": vector(body["model"], text).tolist()}
                for number, text in enumerate(texts)]
        answer = json.dumps({"object": "list", "data": data, "model": body["model"],
                             "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts)}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class ModelServer:
    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.asked = []
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def provider(self):
        return {"kind": "openai", "url": f"http://127.0.0.1:{self.server.server_port}/v1", "send_dimensions": False}

    def asked(self, model):
        """When, in seconds, it was asked for vectors of the model."""
        return [at for at, name in self.server.asked if name == model]

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
