#include "cli/command.h"
#include "embed/hub/hub.h"
#include "embed/onnx/model_list.h"
#include "serve/server.h"

#define LAST                                                                                                           \
    {                                                                                                                  \
        0                                                                                                              \
    }

const struct exit_status exit_statuses[] = {
    {EXIT_DONE, "done", "done, or nothing was left to do"},
    {EXIT_UNEXPECTED, "unexpected", "an unexpected failure; the log says what"},
    {EXIT_USAGE, "usage or configuration", "the command line, the migration file or what it names is wrong"},
    {EXIT_MORE, "work left", "stopped with work left (--once, --max-runtime, --until, SIGTERM); run it again"},
    {EXIT_UNREACHABLE, "database away", "the database can't be reached or refuses the connection"},
    {EXIT_PROVIDER, "provider refused", "the embeddings provider refuses for good: key, quota, model, dimensions"},
    {EXIT_STATE, "not in this state", "not allowed in the state that the migration is in"},
    {EXIT_GATE, "gate or verification", "a gate does not hold, or a verification or comparison found something"},
    {EXIT_PAUSED, "paused", "paused, by a person or by a budget"},
    {EXIT_FAILURES, "completed with failed documents", "completed, but documents are listed by failures"},
    LAST,
};

const struct option_spec global_options[] = {
    {.name = "database-url",
     .value = "URL",
     .line = "the database; otherwise PG* as for psql",
     .variables = {"REEMBED_DATABASE_URL", "DATABASE_URL"}},
    {.name = "log-format", .value = "text|json", .line = "of the log on stderr", .variables = {"REEMBED_LOG_FORMAT"}},
    {.name = "log-level",
     .value = "LEVEL",
     .line = "error, warning, info or debug",
     .variables = {"REEMBED_LOG_LEVEL"}},
    {.name = "no-progress", .line = "no progress bar, a log line every 10 s", .variables = {"REEMBED_NO_PROGRESS"}},
    {.name = "onnxruntime",
     .value = "FILE",
     .line = "the ONNX Runtime library to load",
     .variables = {"REEMBED_ONNXRUNTIME"}},
    {.name = "yes", .letter = 'y', .line = "answer questions with yes", .variables = {"REEMBED_YES"}},
    {.name = "version", .letter = 'V', .line = "print the version"},
    {.name = "help", .letter = 'h', .line = "print this, or a command's own help"},
    LAST,
};

static const struct option_spec init_options[] = {
    {.name = "print", .line = "write the SQL to stdout, for a DBA; nothing is installed"},
    {.name = "reader", .value = "ROLE", .line = "let ROLE read the views and search"},
    {.name = "operator", .value = "ROLE", .line = "let ROLE pause, resume, cut over, roll back, retry, skip too"},
    LAST,
};

static const struct option_spec plan_options[] = {
    {.name = "probe", .line = "embed 16 documents to measure the model"},
    {.name = "json", .line = "one JSON document"},
    LAST,
};

static const struct option_spec doctor_options[] = {
    {.name = "table", .value = "T", .line = "without a file: this table, as in SQL; otherwise every one it can see"},
    {.name = "column", .value = "C", .line = "of --table, otherwise all its vector columns"},
    {.name = "json", .line = "one JSON document"},
    {.name = "html", .value = "FILE", .line = "write the findings as a page of its own, too"},
    {.name = "fail-on", .value = "error|warning|info", .line = "exit 7 where there is such a finding, or a worse one"},
    LAST,
};

static const struct option_spec new_options[] = {
    {.name = "out", .value = "FILE", .line = "where to write (COLLECTION.json); - is stdout"},
    {.name = "id", .value = "ID", .line = "of the migration (COLLECTION-to-MODEL)"},
    {.name = "collection", .value = "NAME", .line = "of the documents (the table's name)"},
    {.name = "table", .value = "T", .line = "of the documents, as in SQL"},
    {.name = "key", .value = "C", .line = "the column that names a document (its primary key)"},
    {.name = "content", .value = "SQL", .line = "the text to embed, an expression over the row"},
    {.name = "where", .value = "SQL", .line = "which documents, a condition over the row"},
    {.name = "column", .value = "C", .line = "the old vectors, a column of the table"},
    {.name = "no-source", .line = "there are no vectors yet"},
    {.name = "source-model", .value = "NAME", .line = "the model that made the old vectors"},
    {.name = "source-path", .value = "DIR", .line = "its model folder: workers keep the old vectors current too"},
    {.name = "source-url", .value = "URL", .line = "its embeddings server"},
    {.name = "source-dialect", .value = "D", .line = "of that server"},
    {.name = "source-key-env", .value = "NAME", .line = "the environment variable that holds its key"},
    {.name = "model", .value = "NAME", .line = "the new model"},
    {.name = "dimensions", .value = "N", .line = "of the new vectors (the model's)"},
    {.name = "path", .value = "DIR", .line = "its model folder, to run it in this process"},
    {.name = "url", .value = "URL", .line = "its embeddings server"},
    {.name = "dialect", .value = "D", .line = "of that server"},
    {.name = "key-env", .value = "NAME", .line = "the environment variable that holds its key; never the key"},
    {.name = "metric", .value = "cosine|inner_product|l2", .line = "of the new index (cosine)"},
    {.name = "models", .value = "DIR", .line = "where to look for model folders (models)"},
    {.name = "no-plan", .line = "do not show the plan at the end"},
    LAST,
};

#define TOKEN_FILE_OPTION                                                                                              \
    {                                                                                                                  \
        .name = "token-file", .value = "FILE", .line = "the token that callers must send; or REEMBED_SERVE_TOKEN",     \
        .variables = {"REEMBED_SERVE_TOKEN_FILE"},                                                                     \
    }
#define ALLOW_CONTROL_OPTION                                                                                           \
    {                                                                                                                  \
        .name = "allow-control", .line = "the page may pause, resume, cut over and roll back; needs a token"           \
    }

static const struct option_spec run_options[] = {
    {.name = "once", .line = "one pass, until no work is claimable"},
    {.name = "max-runtime", .value = "SECS", .line = "stop after so many seconds"},
    {.name = "until",
     .value = "SHARE",
     .line = "stop with a random share (0.2: a fifth) embedded, to look at it first"},
    {.name = "follow", .line = "stay and keep the spaces current until SIGTERM"},
    {.name = "ok-if-more", .line = "exit 0 instead of 3 when stopped with work left"},
    {.name = "batch-size", .value = "N", .line = "documents a batch, for this process"},
    {.name = "max-concurrent", .value = "N", .line = "batches at a time, for this process"},
    {.name = "shutdown-grace-secs",
     .value = "SECS",
     .line = "after SIGTERM, to store what is being embedded (25)",
     .variables = {"REEMBED_SHUTDOWN_GRACE_SECS"}},
    {.name = "listen", .value = "HOST:PORT", .line = "beside the work: metrics, probes and the page, as serve does"},
    TOKEN_FILE_OPTION,
    ALLOW_CONTROL_OPTION,
    LAST,
};

static const struct option_spec serve_options[] = {
    {.name = "listen",
     .value = "HOST:PORT",
     .line = "where to listen (" SERVE_DEFAULT_LISTEN "); beyond this machine only with a token",
     .variables = {"REEMBED_SERVE_LISTEN"}},
    TOKEN_FILE_OPTION,
    ALLOW_CONTROL_OPTION,
    LAST,
};

static const struct option_spec verify_options[] = {
    {.name = "sample", .value = "N", .line = "embed N random documents again and compare"},
    {.name = "file", .value = "FILE", .line = "the migration file whose provider embeds the sample"},
    {.name = "json", .line = "one JSON document"},
    LAST,
};

static const struct option_spec compare_options[] = {
    {.name = "queries", .value = "FILE", .line = "JSON Lines {\"text\": ..., \"relevant\": [id, ...]} as queries"},
    {.name = "known-items", .value = "EXPRESSION", .line = "SQL over a document (a title), which should find it"},
    {.name = "limit", .letter = 'k', .value = "N", .line = "nearest documents to look at (10)"},
    {.name = "sample", .value = "N", .line = "queries out of the collection (1000)"},
    {.name = "seed", .value = "N", .line = "of the random choices (1)"},
    {.name = "file", .value = "FILE", .line = "the migration file whose providers embed the queries"},
    {.name = "html", .value = "FILE", .line = "write a page with plots too"},
    {.name = "json", .line = "one JSON document"},
    LAST,
};

static const struct option_spec search_options[] = {
    {.name = "limit", .letter = 'k', .value = "N", .line = "hits to print (10)"},
    {.name = "model", .value = "source|target|fused", .line = "instead of the routed model"},
    {.name = "file", .value = "FILE", .line = "the migration file whose provider embeds the text"},
    {.name = "json", .line = "one JSON document"},
    LAST,
};

static const struct option_spec status_options[] = {
    {.name = "watch", .letter = 'w', .line = "again each second, until it is over"},
    {.name = "json", .line = "one JSON document"},
    LAST,
};

static const struct option_spec json_only[] = {
    {.name = "json", .line = "one JSON document"},
    LAST,
};

static const struct option_spec reason_only[] = {
    {.name = "reason", .value = "R", .line = "kept in the events and shown by status"},
    LAST,
};

static const struct option_spec cutover_options[] = {
    {.name = "force", .line = "flip even if a gate does not hold"},
    LAST,
};

static const struct option_spec rollback_options[] = {
    {.name = "reason", .value = "R", .line = "kept in the events and shown by status"},
    {.name = "force", .line = "even if the source was not kept current"},
    LAST,
};

static const struct option_spec finalize_options[] = {
    {.name = "now", .line = "although the rollback window is still open"},
    {.name = "drop-source", .line = "drop the old vectors too"},
    {.name = "detach", .line = "end change capture; otherwise run goes on keeping the active space current"},
    LAST,
};

static const struct option_spec embed_options[] = {
    {.name = "model", .value = "DIR", .line = "a model folder instead of a migration file"},
    {.name = "query", .line = "as queries: with the query prefix"},
    LAST,
};

static const struct option_spec model_options[] = {
    {.name = "dir", .value = "DIR", .line = "that holds model folders (" MODELS_DEFAULT_FOLDER ")"},
    {.name = "revision", .value = "REV", .line = "pull: a branch, tag or commit (main)"},
    {.name = "json", .line = "one JSON document"},
    LAST,
};

static const struct option_spec tokenize_options[] = {
    {.name = "model", .value = "DIR", .line = "the model folder that holds tokenizer.json"},
    {.name = "max-tokens", .value = "N", .line = "cut after N tokens, special tokens counted"},
    LAST,
};

#define MOVE  "move a collection"
#define WATCH "watch it"
#define STEER "steer it"
#define TRY   "try a model"

const struct command commands[] = {
    {.name = "doctor",
     .group = MOVE,
     .usage = "[FILE | --table T]",
     .line = "look at vector columns: what is wrong with them; writes nothing",
     .about =
         "With a migration file: its documents, source and providers, and whether the claimed model made the vectors.\n"
         "Without: every pgvector column that the role can see. Reads a bounded number of rows, in read-only\n"
         "transactions. Each finding has a stable id, a severity and what to do. Exit 7 by --fail-on alone.",
     .options = doctor_options,
     .max_arguments = 1,
     .run = doctor_run},
    {.name = "new",
     .group = MOVE,
     .usage = "",
     .line = "write a migration file: finds the columns, asks what it can't know",
     .about =
         "At a terminal it asks, and offers what it found; elsewhere the flags must say what it can't know. An existing\n"
         "file is kept unless --yes is given. Keys are named by their environment variable, never written.",
     .options = new_options,
     .run = new_run},
    {.name = "plan",
     .group = MOVE,
     .usage = "FILE",
     .line = "dry run: check everything, count, estimate; writes nothing",
     .about = "Checks the file, the database, the privileges and the provider, counts documents and tokens, estimates\n"
              "requests, cost, time, disk, WAL and index memory, and prints the SQL that run will use.",
     .options = plan_options,
     .min_arguments = 1,
     .max_arguments = 1,
     .run = plan_run},
    {.name = "run",
     .group = MOVE,
     .usage = "FILE",
     .line = "create, start or join the migration and work until it is completed",
     .about = "Installs the schema if it is missing and creates the migration if it is not there yet. Any number of\n"
              "processes may run the same file. SIGTERM stores what was embedded, frees what was claimed, exits 3.\n"
              "A failed migration is resumed; a paused one is not (exit 8), unless a budget was raised meanwhile.",
     .options = run_options,
     .min_arguments = 1,
     .max_arguments = 1,
     .stoppable = true,
     .run = run_run},
    {.name = "verify",
     .group = MOVE,
     .usage = "ID",
     .line = "compare the target with the documents, exactly; queue repairs",
     .about = "Exit 7 where something was missing, stale or left over. What is found is queued for run to repair.\n"
              "With --sample the provider is that of --file, or of the file of this migration in this folder.",
     .options = verify_options,
     .min_arguments = 1,
     .max_arguments = 1,
     .run = verify_run},
    {.name = "compare",
     .group = MOVE,
     .usage = "ID",
     .line = "both models on the same queries; go, no_go or inconclusive",
     .about =
         "Queries are passages of documents, unless --queries or --known-items gives better ones; without a provider\n"
         "of the source they are documents, by their stored vectors. Works on a partial fill: run --until 0.2 embeds\n"
         "a random fifth. Exit 0 for go, 7 for no_go and inconclusive. What it finds is an event and decides the\n"
         "gates min_overlap_at_10, min_recall_change and min_index_recall. The providers are those of --file, or of\n"
         "the file of this migration in this folder.",
     .options = compare_options,
     .min_arguments = 1,
     .max_arguments = 1,
     .run = compare_run},
    {.name = "init",
     .group = MOVE,
     .usage = "",
     .line = "install or upgrade the schema reembed, grant rights on it",
     .about = "run installs the schema by itself; init is for doing it apart, or for granting rights to other roles.\n"
              "Feed the output of --print to: psql -1 -f",
     .options = init_options,
     .run = init_run},

    {.name = "status",
     .group = WATCH,
     .usage = "[ID]",
     .line = "progress, rate, ETA, routing, gates, failures, workers",
     .about = "Without ID: the unfinished migration, else the newest one.",
     .options = status_options,
     .max_arguments = 1,
     .run = status_run},
    {.name = "list", .group = WATCH, .usage = "", .line = "all migrations", .options = json_only, .run = list_run},
    {.name = "failures",
     .group = WATCH,
     .usage = "ID",
     .line = "the documents that have no vector, each with its reason",
     .options = json_only,
     .min_arguments = 1,
     .max_arguments = 1,
     .run = failures_run},

    {.name = "serve",
     .group = WATCH,
     .usage = "",
     .line = "metrics, probes, status and a page to watch, over HTTP",
     .about = "/ is the page, /metrics is for Prometheus, /healthz and /readyz are for probes, /api/status is what\n"
              "status --json prints. The token is in REEMBED_SERVE_TOKEN or in the file of --token-file, never in an\n"
              "argument. run --listen serves the same beside the work. It goes on until SIGTERM.",
     .options = serve_options,
     .stoppable = true,
     .run = serve_run},

    {.name = "pause",
     .group = STEER,
     .usage = "ID",
     .line = "stop embedding; workers obey within 2 s",
     .options = reason_only,
     .min_arguments = 1,
     .max_arguments = 1,
     .run = pause_run},
    {.name = "resume",
     .group = STEER,
     .usage = "ID",
     .line = "go on after a pause or a failure",
     .min_arguments = 1,
     .max_arguments = 1,
     .run = resume_run},
    {.name = "cancel",
     .group = STEER,
     .usage = "ID",
     .line = "give the migration up; queries go to the source",
     .options = reason_only,
     .min_arguments = 1,
     .max_arguments = 1,
     .run = cancel_run},
    {.name = "cutover",
     .group = STEER,
     .usage = "ID",
     .line = "queries to the target now, if every gate holds",
     .options = cutover_options,
     .min_arguments = 1,
     .max_arguments = 1,
     .run = cutover_run},
    {.name = "rollback",
     .group = STEER,
     .usage = "ID",
     .line = "queries back to the source, at once",
     .options = rollback_options,
     .min_arguments = 1,
     .max_arguments = 1,
     .run = rollback_run},
    {.name = "finalize",
     .group = STEER,
     .usage = "ID",
     .line = "end the rollback window; after a rollback: drop the target",
     .options = finalize_options,
     .min_arguments = 1,
     .max_arguments = 1,
     .run = finalize_run},
    {.name = "retry",
     .group = STEER,
     .usage = "ID [DOC...]",
     .line = "try failed documents again, all or those named",
     .min_arguments = 1,
     .max_arguments = ARGUMENTS_MAX,
     .run = retry_run},
    {.name = "skip",
     .group = STEER,
     .usage = "ID DOC... --reason R",
     .line = "leave documents out",
     .options = reason_only,
     .min_arguments = 2,
     .max_arguments = ARGUMENTS_MAX,
     .run = skip_run},

    {.name = "search",
     .group = TRY,
     .usage = "COLLECTION TEXT",
     .line = "embed the text with the routed model and print the hits",
     .about = "The provider is that of --file, or of the collection's migration file in this folder.",
     .options = search_options,
     .min_arguments = 2,
     .max_arguments = 2,
     .run = search_run},
    {.name = "embed",
     .group = TRY,
     .usage = "FILE|--model DIR",
     .line = "JSON Lines {\"text\": ...} in, {\"embedding\": [...]} out",
     .about = "One line out for each line in, in order. FILE: the target of a migration file. A text that can't be\n"
              "embedded gives {\"embedding\": null, \"reason\": ...}; exit 9 where one failed.",
     .options = embed_options,
     .max_arguments = 1,
     .run = embed_run},
    {.name = "tokenize",
     .group = TRY,
     .usage = "--model DIR",
     .line = "JSON Lines {\"text\": ...} in, {\"ids\": [...]} out",
     .options = tokenize_options,
     .run = tokenize_run},
    {.name = "model",
     .group = TRY,
     .usage = "pull REPO | list",
     .line = "fetch a model folder from a hub; show those that are here",
     .about =
         "pull: DIR/NAME of organisation/NAME, only the files that are needed: the ONNX graph, the tokenizer, the\n"
         "settings. Checked by SHA-256, put in place in one step; called again after an interruption it goes on.\n"
         "HF_ENDPOINT is the hub (" HUB_DEFAULT_ENDPOINT "), HF_TOKEN the token for models that need one.\n"
         "list: name, dimensions, pooling, longest text, size; and what can't be used, with the reason.",
     .options = model_options,
     .min_arguments = 1,
     .max_arguments = 2,
     .run = model_run},
    LAST,
};
