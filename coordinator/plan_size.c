/* How much room vectors and index take. The figures follow the layout of Postgres' pages and of pgvector's index pages;
 * they were compared with real tables and indexes of 64 to 3,072 dimensions and lie within 5 % (docs/plan.md). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "coordinator/index_build.h"
#include "coordinator/plan.h"

enum {
    PAGE = 8192,
    PAGE_ROOM = PAGE - 24,      /* behind the page header */
    INDEX_ROOM = PAGE_ROOM - 8, /* and before pgvector's special space */
    LINE_POINTER = 4,
    ROW_HEADER = 24,
    TOAST_THRESHOLD = 2032, /* heaptoast.h: a row above this is stored out of line */
    TOAST_CHUNK = 1996,
    TOAST_CHUNK_HEADER = 12, /* chunk_id, chunk_seq, length word */
    TOAST_POINTER = 18,
    TOAST_INDEX_ENTRY = 24, /* with its share of a page that is filled to 90 % */
    VECTOR_HEADER = 8,
    WAL_A_DOCUMENT = 216, /* measured: records of row, key, chunk cursor; the vector comes on top */
    HNSW_ELEMENT = 72,    /* offsetof(HnswElementTupleData, data) */
    HNSW_NEIGHBORS = 4,   /* offsetof(HnswNeighborTupleData, indextids) */
    HNSW_TID = 6,
    HNSW_MEMORY_ELEMENT = 170, /* measured: element, pointers, allocation headers */
    HNSW_MEMORY_NEIGHBOR = 16, /* sizeof(HnswCandidate) */
    IVFFLAT_ENTRY = 8,
    IVFFLAT_SAMPLES_A_LIST = 50, /* pgvector src/ivfbuild.c */
    IVFFLAT_SAMPLES_MIN = 10000,
    ROWS_PACKED = 256,
    PARTS_MAX = 40, /* chunks of the widest vector, 16,000 numbers of 4 bytes, and to spare */
};

#define HNSW_SECONDS           0.00012 /* one element, m 16, ef_construction 64, one core */
#define HNSW_SECONDS_A_BYTE    1e-7
#define IVFFLAT_SECONDS_A_BYTE 1e-10
#define HELPER_SHARE           0.35 /* what a parallel worker adds to the process that builds */
#define OUT_OF_MEMORY_FACTOR   2.8

static size_t
align8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/* Bytes of pages a row takes when rows of these parts are laid down one after the other: each part goes to the page
 * that was used last, else, where `reuse`, to an older one with room, as the free space map finds it; else to a new one. */
static double
packed(const size_t *parts, size_t count, size_t room, bool reuse)
{
    uint16_t used[ROWS_PACKED * PARTS_MAX] = {0};
    size_t pages = 1, last = 0;

    assert(count <= PARTS_MAX);
    for (size_t part = 0; part < ROWS_PACKED * count; part++) {
        size_t size = align8(parts[part % count]) + LINE_POINTER;
        if (used[last] + size > room) {
            for (last = reuse ? 0 : pages; last < pages && used[last] + size > room; last++)
                ;
            pages += last == pages;
        }
        used[last] = (uint16_t)(used[last] + size);
    }
    return (double)PAGE * (double)pages / ROWS_PACKED;
}

static size_t
vector_bytes(const struct migration_target *target)
{
    size_t each = target->type == VECTOR_TYPE_HALFVEC ? 2 : 4;
    return VECTOR_HEADER + (size_t)target->dimensions * each;
}

static size_t
id_bytes(const char *id_type)
{
    if (strcmp(id_type, "uuid") == 0)
        return 16;
    /* integers are padded to 8 before the read token; text is a guess */
    return strcmp(id_type, "text") == 0 || strcmp(id_type, "character varying") == 0 ? 24 : 8;
}

static double
table_bytes(const struct migration_target *target, const char *id_type)
{
    enum { TOKEN_AND_HASH = 24 };
    size_t vector = vector_bytes(target), id = id_bytes(id_type);
    size_t row = ROW_HEADER + id + TOKEN_AND_HASH + vector;
    size_t chunks[PARTS_MAX];
    size_t count = 0;
    double key = (double)(align8(8 + id) + LINE_POINTER) / 0.9;

    if (row <= TOAST_THRESHOLD)
        return packed(&row, 1, PAGE_ROOM, true) + key;
    row = ROW_HEADER + id + TOKEN_AND_HASH + TOAST_POINTER;
    for (size_t left = vector - 4; left > 0 && count < PARTS_MAX; count++) {
        size_t size = left < TOAST_CHUNK ? left : TOAST_CHUNK;
        chunks[count] = ROW_HEADER + TOAST_CHUNK_HEADER + size;
        left -= size;
    }
    return packed(&row, 1, PAGE_ROOM, true) + packed(chunks, count, PAGE_ROOM, true) +
           (double)count * TOAST_INDEX_ENTRY + key;
}

/* An element and its list of neighbours share a page, or else have one each. A share of 1/m of the elements is on each
 * higher level. */
static double
hnsw_bytes(const struct migration_target *target, double *ret_used)
{
    size_t m = (size_t)target->index.m;
    size_t element = align8(HNSW_ELEMENT + vector_bytes(target));
    size_t neighbors = align8(HNSW_NEIGHBORS + 2 * m * HNSW_TID + m * HNSW_TID / (m - 1));
    size_t both = element + neighbors + LINE_POINTER;

    size_t on_a_page = INDEX_ROOM / (both + LINE_POINTER);

    *ret_used = (double)(both + LINE_POINTER);
    return on_a_page > 0 ? (double)PAGE / (double)on_a_page : 2.0 * PAGE;
}

/* What maintenance_work_mem must hold so that the graph is built in memory. */
static double
hnsw_memory(const struct migration_target *target)
{
    double m = (double)target->index.m;
    double level = 8 + m * HNSW_MEMORY_NEIGHBOR;

    return HNSW_MEMORY_ELEMENT + (double)align8(vector_bytes(target)) + level + m * HNSW_MEMORY_NEIGHBOR +
           level / (m - 1);
}

/* Elkan's k-means over a sample (pgvector src/ivfkmeans.c): samples, two sets of centres, bounds. */
static double
ivfflat_memory(const struct migration_target *target, double documents)
{
    double lists = (double)index_list_count(&target->index, documents);
    double samples = fmin(fmax(lists * IVFFLAT_SAMPLES_A_LIST, IVFFLAT_SAMPLES_MIN), documents);
    double vector = (double)vector_bytes(target);

    return samples * vector + 2 * lists * vector + samples * lists * 4 + lists * lists * 4;
}

double
plan_column_wal(const struct plan *plan, double documents)
{
    double out_of_line = 1.08, row_overhead = 150, entry = 100;
    double vector = (double)vector_bytes(&plan->file->target);

    return documents * (vector * out_of_line + row_overhead + entry * plan->docs_other_indexes) + 2 * plan->docs_bytes +
           2 * plan->docs_vector_index_bytes;
}

void
plan_size(const struct migration_target *target, const char *id_type, const char *index_method, double documents,
          double share, bool index_missing, struct plan_size *ret_size)
{
    double vector = (double)vector_bytes(target);
    double index_used = 0;

    *ret_size = (struct plan_size){
        .table_bytes = documents * table_bytes(target, id_type),
        .wal_bytes = documents * share * (vector - VECTOR_HEADER + WAL_A_DOCUMENT),
        .index_bytes = -1,
        .index_memory_bytes = -1,
    };
    if (!index_method)
        return;
    if (strcmp(index_method, "hnsw") == 0) {
        ret_size->index_bytes = PAGE + documents * hnsw_bytes(target, &index_used);
        ret_size->index_memory_bytes = documents * hnsw_memory(target);
    } else if (strcmp(index_method, "ivfflat") == 0) {
        size_t entry = align8(IVFFLAT_ENTRY + vector_bytes(target));
        index_used = (double)(entry + LINE_POINTER);
        ret_size->index_bytes = PAGE + documents * packed(&entry, 1, INDEX_ROOM, false);
        ret_size->index_memory_bytes = ivfflat_memory(target, documents);
    } else {
        ret_size->index_bytes = 0;
        ret_size->index_memory_bytes = 0;
    }
    if (index_missing)
        ret_size->wal_bytes +=
            documents * index_used; /* a new index goes into the WAL page by page, without the holes */
}

/* Distances computed for one element: about ef_construction x the logarithm of the elements, each over the whole vector.
 * Calibrated by builds of 5,000 to 20,000 clustered vectors of 128 to 1,536 numbers (docs/plan.md). */
double
index_seconds(const struct migration_target *target, const char *method, const struct plan_size *size, double documents,
              const struct index_means *means)
{
    double vector = (double)vector_bytes(target);

    if (!method || size->index_bytes < 0)
        return -1;
    if (size->index_bytes == 0 || documents < 1)
        return 0;
    double hands = 1 + HELPER_SHARE * means->workers;
    if (strcmp(method, "hnsw") != 0)
        return documents * (double)index_list_count(&target->index, documents) * vector * IVFFLAT_SECONDS_A_BYTE;
    double breadth = (double)target->index.ef_construction / 64 * (double)target->index.m / 16;
    double depth = log2(fmax(documents, 2)) / log2(20000);
    double seconds = documents * breadth * depth * (HNSW_SECONDS + HNSW_SECONDS_A_BYTE * vector) / hands;
    return size->index_memory_bytes > means->memory_bytes ? seconds * OUT_OF_MEMORY_FACTOR : seconds;
}
