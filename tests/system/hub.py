"""A hub of models on this machine: a listing, files by redirect to a store on another address, and faults on demand."""
import hashlib
import http.server
import json
import threading
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def tokenizer(words=("hello", "world", "##s")):
    """The smallest tokenizer.json that is one."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    special = [{"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i, name in enumerate(names[:4])]
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {name: i for i, name in enumerate(names)}},
    }).encode()


def model_files(graph=b"", pooling="1_Pooling", **more):
    """A sentence-transformers repository of a model with 8 dimensions, with much that nobody needs."""
    files = {
        "README.md": b"# a model\n",
        "config.json": json.dumps({"model_type": "bert", "hidden_size": 8, "vocab_size": 32,
                                   "max_position_embeddings": 64}).encode(),
        "modules.json": json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                                    {"idx": 1, "name": "1", "path": pooling,
                                     "type": "sentence_transformers.models.Pooling"}]).encode(),
        "sentence_bert_config.json": b'{"max_seq_length": 48, "do_lower_case": false}',
        "1_Pooling/config.json": b'{"word_embedding_dimension": 8, "pooling_mode_cls_token": true,'
                                 b' "pooling_mode_mean_tokens": false}',
        "tokenizer.json": tokenizer(),
        "onnx/model.onnx": graph,
        "model.safetensors": b"weights" * 1000,
        "pytorch_model.bin": b"weights" * 1000,
        "onnx/model_quantized.onnx": b"q" * 1000,
    }
    files.update({name.replace("__", "/"): data for name, data in more.items()})
    return {name: data for name, data in files.items() if data is not None}


NEEDED = {"config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json", "tokenizer.json",
          "onnx/model.onnx"}


class Request:
    def __init__(self, handler):
        self.path = urllib.parse.unquote(handler.path.partition("?")[0])
        self.token = handler.headers.get("Authorization")
        self.range = handler.headers.get("Range")
        self.sent = 0           # bytes of the body
        self.status = None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_GET(self):
        request = Request(self)
        self.hub.requests.append((self.role, request))
        try:
            self.hub.answer(self, self.role, request)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def handle(self):
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            pass                # the program ended the transfer

    def log_message(self, *_):
        pass

    def begin(self, request, status, headers=(), length=0):
        request.status = status
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def body(self, request, data):
        for at in range(0, len(data), 65536):
            self.wfile.write(data[at:at + 65536])
            request.sent += len(data[at:at + 65536])


class Hub:
    """Repositories are name -> {path: bytes}; what is above `lfs_above` bytes is sent by the store, as large files are."""

    def __init__(self, repositories, lfs_above=20_000):
        self.repositories = repositories
        self.lfs_above = lfs_above
        self.requests = []
        self.commit = COMMIT
        self.listing = True
        self.checksums = True       # ETags
        self.ranges = True
        self.lengths = True         # the store says how long a body is
        self.token = None           # that is needed
        self.corrupt = set()        # paths that are sent with one other byte
        self.cut = []               # bytes after which a body of the store ends; one a request
        self.statuses = {}          # path -> [(status, headers)...], taken in turn
        self.hold_after = None      # bytes of a store's body, then wait
        self.held, self.go_on = threading.Event(), threading.Event()
        self.redirect = None        # instead of the store's address
        self.servers, self.threads = [], []
        # 127.0.0.2 is another host, and this machine all the same
        self.url = self._serve("hub", "127.0.0.1")
        self.store_url = self._serve("store", "127.0.0.2")

    def _serve(self, role, host):
        handler = type("Bound", (Handler,), {"hub": self, "role": role})
        server = http.server.ThreadingHTTPServer((host, 0), handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self.servers.append(server)
        self.threads.append(thread)
        return f"http://{host}:{server.server_port}"

    def close(self):
        self.go_on.set()
        for server, thread in zip(self.servers, self.threads):
            server.shutdown()
            thread.join()
            server.server_close()

    def asked(self, role, path=""):
        return [request for who, request in self.requests if who == role and path in request.path]

    # --- what it says ---

    def answer(self, handler, role, request):
        planned = self.statuses.get(request.path)
        if planned:
            status, headers = planned.pop(0)
            return handler.begin(request, status, headers)
        if role == "store":
            return self.send(handler, request, self.find(request.path.partition("/store/")[2]), big=True)
        if self.token and request.token != f"Bearer {self.token}":
            return handler.begin(request, 401, [("X-Error-Message", "Invalid credentials")])
        if request.path.startswith("/api/models/"):
            return self.list(handler, request)
        name, _, rest = handler.path[1:].partition("/resolve/")     # a slash in the revision is %2F
        path = f"{name}/{urllib.parse.unquote(rest.partition('/')[2])}"
        data = self.find(path)
        if data is None:
            return handler.begin(request, 404, [("X-Error-Code", "EntryNotFound")])
        if len(data) <= self.lfs_above:
            return self.send(handler, request, data, etag=git_blob(data))
        checksum = [("X-Linked-Etag", f'"{hashlib.sha256(data).hexdigest()}"')] if self.checksums else []
        handler.begin(request, 302, [*checksum, ("X-Linked-Size", str(len(data))), ("X-Repo-Commit", self.commit),
                                     ("Location", self.redirect or f"{self.store_url}/store/{path}?signature=" + "s" * 900)])

    def find(self, path):
        for name, files in self.repositories.items():
            if path.startswith(name + "/"):
                return files.get(path[len(name) + 1:])
        return None

    def list(self, handler, request):
        name, _, revision = request.path[len("/api/models/"):].partition("/revision/")
        if not self.listing or name not in self.repositories:
            return handler.begin(request, 404, [("X-Error-Message", "Repository not found")])
        siblings = []
        for path, data in self.repositories[name].items():
            item = {"rfilename": path, "size": len(data), "blobId": git_blob(data)}
            if len(data) > self.lfs_above:
                item["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
                item["blobId"] = "f" * 40
            siblings.append(item)
        body = json.dumps({"id": name, "sha": self.commit, "revision": revision, "siblings": siblings}).encode()
        handler.begin(request, 200, [("Content-Type", "application/json")], len(body))
        handler.body(request, body)

    def send(self, handler, request, data, etag=None, big=False):
        if request.path.rpartition("/")[2] in self.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        headers = [("ETag", f'"{etag}"'), ("X-Repo-Commit", self.commit)] if etag and self.checksums else []
        status, whole, first = 200, len(data), 0
        if request.range and self.ranges:
            first = int(request.range.removeprefix("bytes=").rstrip("-"))
            if first >= whole:
                return handler.begin(request, 416, [("Content-Range", f"bytes */{whole}")])
            status = 206
            headers.append(("Content-Range", f"bytes {first}-{whole - 1}/{whole}"))
        data = data[first:]
        cut = self.cut.pop(0) if big and self.cut else None
        handler.begin(request, status, headers, len(data) if self.lengths or not big else None)
        if big and self.hold_after is not None:
            handler.body(request, data[:self.hold_after])
            handler.wfile.flush()
            self.held.set()
            assert self.go_on.wait(60)
            data = data[self.hold_after:]
        if cut is not None:
            handler.body(request, data[:cut])
            handler.close_connection = True
            return
        handler.body(request, data)
