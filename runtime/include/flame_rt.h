/*===- flame_rt.h - the flame runtime's stable C interface -----------------===*
 *
 * Loads artifacts (`model.flame`) and runs them. No LLVM, no C++ in the interface, no exception ever leaves it.
 *
 * Conventions
 *  - A function that can fail returns flame_status*: NULL on success, otherwise an object that the caller frees with
 *    flame_status_free. Every function accepts NULL handles: it then reports FLAME_INVALID_ARGUMENT (or, for queries,
 *    returns 0/NULL; for releases, does nothing). Output parameters are written only on success.
 *  - Handles are reference-counted; *_release drops the caller's reference. Releasing a module or a session while
 *    another thread is inside flame_session_run on it is safe: memory goes when the last run ends.
 *  - Every function may be called from any thread. Sessions of one module run concurrently and share its weights; calls
 *    of flame_session_run on one session are serialised.
 *  - Strings are UTF-8, zero-terminated, and belong to the object they were asked of.
 *
 *===-----------------------------------------------------------------------===*/
#ifndef FLAME_RT_H
#define FLAME_RT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FLAME_API __attribute__((visibility("default")))
#else
#define FLAME_API
#endif

/** Grows when functions or trailing option fields are added; nothing is ever removed or changed. */
#define FLAME_RT_ABI_VERSION 1

typedef struct flame_module flame_module;
typedef struct flame_session flame_session;
typedef struct flame_value flame_value;
typedef struct flame_status flame_status;
struct DLManagedTensor;
struct DLManagedTensorVersioned;

/* ---- status -------------------------------------------------------------------------------------------------- */

typedef enum flame_code {
  FLAME_OK = 0,
  FLAME_INVALID_ARGUMENT = 1, /* the caller's fault: NULL handle, wrong shape or dtype of an input … */
  FLAME_BAD_ARTIFACT = 2,     /* the file is damaged, truncated, of another version, or not an artifact */
  FLAME_UNSUPPORTED = 3,      /* valid, but not for this machine or this runtime */
  FLAME_OUT_OF_MEMORY = 4,    /* an allocation failed or the memory limit would be exceeded */
  FLAME_INTERNAL = 5,         /* a bug of flame */
  FLAME_CANCELLED = 6,        /* flame_session_cancel */
  FLAME_IO = 7,               /* a file could not be opened, read or mapped */
  FLAME_BAD_DATA = 8, /* the model rejects the values it was given: an index out of range, a failed shape check */
  FLAME_DEVICE = 9,   /* no GPU, no driver, or one that is too old; a kernel failed on the GPU */
  FLAME_CODE_FORCE_INT = 0x7FFFFFFF
} flame_code;

FLAME_API flame_code flame_status_code(const flame_status *status); /* FLAME_OK for NULL */
FLAME_API const char *flame_status_message(const flame_status *status);
FLAME_API void flame_status_free(flame_status *status);
/** For libraries on top of this one, which report their errors in the same way. Copies `message`; never returns NULL, but an
 *  out-of-memory status where there is no memory for another. */
FLAME_API flame_status *flame_status_create(flame_code code, const char *message);
/** "ok", "invalid argument", "bad artifact" … */
FLAME_API const char *flame_code_name(flame_code code);

/** The runtime's version, e.g. "0.1.0", and the version of the plan format that it reads. */
FLAME_API const char *flame_version(void);
FLAME_API uint32_t flame_plan_version(void);
FLAME_API int flame_abi_version(void);

/* ---- types --------------------------------------------------------------------------------------------------- */

/** Element types; the numbers are those of ONNX. A type of fewer than 8 bits occupies one byte an element (value in the
 *  low bits, I4 and I2 sign-extended); Bool one byte, 0 or 1. */
typedef enum flame_dtype {
  FLAME_UNDEFINED = 0,
  FLAME_F32 = 1,
  FLAME_U8 = 2,
  FLAME_I8 = 3,
  FLAME_U16 = 4,
  FLAME_I16 = 5,
  FLAME_I32 = 6,
  FLAME_I64 = 7,
  FLAME_STRING = 8,
  FLAME_BOOL = 9,
  FLAME_F16 = 10,
  FLAME_F64 = 11,
  FLAME_U32 = 12,
  FLAME_U64 = 13,
  FLAME_C64 = 14,
  FLAME_C128 = 15,
  FLAME_BF16 = 16,
  FLAME_F8E4M3FN = 17,
  FLAME_F8E4M3FNUZ = 18,
  FLAME_F8E5M2 = 19,
  FLAME_F8E5M2FNUZ = 20,
  FLAME_U4 = 21,
  FLAME_I4 = 22,
  FLAME_F4E2M1FN = 23,
  FLAME_F8E8M0FNU = 24,
  FLAME_U2 = 25,
  FLAME_I2 = 26,
  FLAME_DTYPE_FORCE_INT = 0x7FFFFFFF /* so that a stranger's number is a value of the type in C++, too */
} flame_dtype;

typedef enum flame_kind { FLAME_TENSOR = 0, FLAME_SEQUENCE = 1, FLAME_OPTIONAL = 2 } flame_kind;

/** Bytes an element occupies in memory; 0 for FLAME_STRING and unknown types. */
FLAME_API size_t flame_dtype_size(flame_dtype dtype);
/** "f32", "i64", "string" …; "undefined" for anything unknown. */
FLAME_API const char *flame_dtype_name(flame_dtype dtype);

/* ---- modules ------------------------------------------------------------------------------------------------- */

typedef enum flame_log_level { FLAME_LOG_DEBUG = 0, FLAME_LOG_INFO = 1, FLAME_LOG_WARNING = 2 } flame_log_level;
typedef void (*flame_log_fn)(flame_log_level level, const char *message, void *user);

/** Memory for tensors. `alloc` returns `bytes` bytes aligned to `alignment` (a power of two, 64 in practice), or NULL;
 *  `free` gets what alloc returned and the same size. Both may be called from any thread that uses the module. */
typedef struct flame_allocator {
  void *(*alloc)(size_t bytes, size_t alignment, void *user);
  void (*free)(void *memory, size_t bytes, void *user);
  void *user;
} flame_allocator;

enum {
  FLAME_POISON_FILL = 1, /* fill fresh memory with 0xFF bytes (NaN in every float type), to find reads before writes */
  FLAME_BORROW = 2,      /* flame_module_load_memory: use the caller's bytes in place; they must outlive the module, its
                            sessions and outputs, and be 64-byte aligned */
  FLAME_SYNC = 4,        /* GPU: wait after every command, so that an error names the kernel and its source nodes */
  FLAME_RED_ZONES = 8,   /* guard bytes around every tensor, checked when memory is released and after a run (with
                            FLAME_SYNC: after every kernel); no tensor shares memory with another one then */
  FLAME_NO_GRAPHS = 16   /* GPU: launch every kernel by itself, no CUDA graphs */
};

/** Set struct_size to sizeof(flame_options), everything else may stay zero. */
typedef struct flame_options {
  size_t struct_size;
  const char *weights_directory; /* where the weight files are; NULL: the artifact's own directory */
  uint64_t memory_limit;         /* bytes of tensors, arenas and initialised weights of this module, on CPU and GPU
                                    together; weights that are on the GPU count; 0: none */
  flame_allocator allocator;     /* alloc == NULL: the C library's */
  flame_log_fn log;
  void *log_user;
  int32_t threads; /* 0: FLAME_NUM_THREADS from the environment, else the cores this process may use */
  uint32_t flags;
  uint64_t fail_allocation; /* testing: the N-th allocation (from 1) of this module fails; 0: none */
  int32_t device; /* number of the CUDA device, for artifacts that need one; 0: FLAME_DEVICE from the environment, else
                     the first */
} flame_options;

/** Loads the artifact at `path`. `options` may be NULL. Maps the file and its weights; runs nothing yet, and does not
 *  touch the GPU: the module's first session does that.
 *  Errors: FLAME_IO, FLAME_BAD_ARTIFACT, FLAME_UNSUPPORTED (CPU features, device code), FLAME_OUT_OF_MEMORY. */
FLAME_API flame_status *flame_module_load(const char *path, const flame_options *options, flame_module **module);
/** Loads an artifact from memory, which is copied unless FLAME_BORROW is set. Weight files are looked for in
 *  options->weights_directory, or in the current directory. */
FLAME_API flame_status *flame_module_load_memory(const void *data, size_t bytes, const flame_options *options,
                                                 flame_module **module);
FLAME_API void flame_module_retain(flame_module *module);
FLAME_API void flame_module_release(flame_module *module);

FLAME_API const char *flame_module_name(const flame_module *module);
FLAME_API const char *flame_module_producer(const flame_module *module);
FLAME_API int flame_module_threads(const flame_module *module);
/** Key/value pairs that the compiler left (options, target, tuning choices). Returns 0 where `index` is too large. */
FLAME_API int flame_module_property(const flame_module *module, size_t index, const char **key, const char **value);

/** One input or output. dims has `rank` entries, each a number ("16") or a symbolic name ("batch"); rank is -1 where
 *  only the run knows it, and for sequences and optionals. All pointers live as long as the module. */
typedef struct flame_port {
  const char *name;
  const char *type; /* as printed in messages, e.g. "f32[batch,16]" */
  flame_kind kind;
  flame_dtype dtype;
  int32_t rank;
  const char *const *dims;
} flame_port;

FLAME_API size_t flame_module_input_count(const flame_module *module);
FLAME_API size_t flame_module_output_count(const flame_module *module);
FLAME_API flame_status *flame_module_input(const flame_module *module, size_t index, flame_port *port);
FLAME_API flame_status *flame_module_output(const flame_module *module, size_t index, flame_port *port);

typedef struct flame_shape {
  int32_t rank;
  const int64_t *dims;
} flame_shape;

/** The bytes that a run with inputs of these shapes (one for each input; sequences and optionals: rank 0) holds at its
 *  peak beyond weights, inputs and initialised weights: arenas, heap tensors, scratch memory, outputs. *exact is 0
 * where some sizes depend on data (they count as zero then) or on the way a branch or a loop takes. Nothing is
 * allocated. */
FLAME_API flame_status *flame_module_planned_bytes(const flame_module *module, const flame_shape *shapes, size_t count,
                                                   uint64_t *bytes, int *exact);
/** What the module's first session will take for weights, known before that session exists: *bytes on a GPU for all that its
 *  kernels read, and on CPU and GPU for initialised weights; *loading besides, until those are computed. Either may be NULL;
 *  zeros for a NULL module. */
FLAME_API void flame_module_weight_bytes(const flame_module *module, uint64_t *bytes, uint64_t *loading);
/** Bytes that this module, its sessions and the values they made hold now, and the most they ever held. Mapped weights
 *  are not included. */
FLAME_API void flame_module_memory(const flame_module *module, uint64_t *current, uint64_t *peak);

/** GPU memory that all modules of this process and their values take on one device, as its driver counts it. */
typedef struct flame_gpu_memory {
  uint64_t used;     /* allocated now: weights, arenas, scratch memory, tensors */
  uint64_t peak;     /* the most since the process began, or since flame_device_trim */
  uint64_t reserved; /* taken from the GPU: `used`, and what is kept for the next runs */
} flame_gpu_memory;
/** Waits for the GPU. Errors: FLAME_DEVICE (no such GPU), FLAME_UNSUPPORTED (its driver has no memory pools). */
FLAME_API flame_status *flame_device_memory(int32_t device, flame_gpu_memory *memory);
/** Waits for the GPU, gives back what is kept for the next runs, and lets the peak begin anew. */
FLAME_API flame_status *flame_device_trim(int32_t device);
/** Draws on the GPU what torch.randn(count, device="cuda", generator=…) draws there in f32, bit for bit: normal numbers of the
 *  generator with this seed, of which *block blocks have been drawn (0 to begin with; on success it counts these, too). `out`
 *  is memory of the CPU with `count` places. Numbers depend on the number of the GPU's multiprocessors as they do in
 *  PyTorch. Errors: FLAME_DEVICE (no such GPU), FLAME_UNSUPPORTED (its driver compiles no PTX), FLAME_OUT_OF_MEMORY. */
FLAME_API flame_status *flame_device_torch_normal(int32_t device, uint64_t seed, uint64_t *block, float *out,
                                                  size_t count);

/* ---- sessions ------------------------------------------------------------------------------------------------ */

/** A session holds the memory of one run at a time and keeps it between runs. The module's first session loads the
 *  kernels into the GPU, brings the weights there, and computes the initialised weights.
 *  Errors: FLAME_DEVICE (no GPU, driver missing or too old), FLAME_UNSUPPORTED (the artifact has no code for this GPU),
 *  FLAME_OUT_OF_MEMORY. */
FLAME_API flame_status *flame_session_create(flame_module *module, flame_session **session);
FLAME_API void flame_session_retain(flame_session *session);
FLAME_API void flame_session_release(flame_session *session);

/** Runs the model. `inputs` are in the order of the signature and stay the caller's. On entry outputs[i] is NULL, and
 *  gets a value that the caller releases, or a tensor of the right dtype and shape, which receives the result.
 *  That tensor may be one of the inputs, in either place: the input is donated, as the state of a training step or of a
 *  generator is, and holds the output after the run. Where the plan allows it the output is computed there, with no memory
 *  of its own; otherwise it is copied there at the end of the run. All that reads the input sees its old value. Addresses
 *  that stay the same from run to run keep CUDA graphs as they are. No two outputs may share memory. On an error outputs that
 *  were NULL stay NULL, and the contents of the others, donated inputs too, are undefined. */
FLAME_API flame_status *flame_session_run(flame_session *session, const flame_value *const *inputs, size_t input_count,
                                          flame_value **outputs, size_t output_count);
/** Outputs that the run makes stay in the GPU's memory (enable != 0) instead of coming to the CPU's. Without effect for
 *  CPU artifacts and for strings, sequences and optionals. */
FLAME_API flame_status *flame_session_device_outputs(flame_session *session, int enable);
/** The tensor where the session's kernels work, in *value: a copy in the GPU's memory, of the module's account, or for a CPU
 *  artifact in the CPU's; another reference where it is there already, and for strings. It may be changed or released at
 *  once; the copy is ordered with the session's runs, also in a stream of the application's. What is the input of many runs
 *  is so brought there once. Errors: FLAME_INVALID_ARGUMENT (no tensor; on another GPU), FLAME_OUT_OF_MEMORY, FLAME_DEVICE. */
FLAME_API flame_status *flame_session_upload(flame_session *session, const flame_value *tensor, flame_value **value);
/** Runs go into the host application's stream (a CUstream or cudaStream_t of the same device): after the work that the
 *  stream has at the call, and before what is put into it afterwards. A run whose inputs and outputs are all in GPU
 *  memory then returns before it has ended. What goes wrong in it afterwards, a failing kernel or an index that is out of
 *  range (the kernels read another element in its place, nothing beside the tensor), is reported by the next call of
 *  flame_session_run or flame_session_wait that finds it ended; flame_session_wait makes sure. The stream must exist during runs and
 * may be destroyed between them. Runs of one session in different streams wait for each other; what the application
 * itself does with outputs in a former stream it orders before the next run. The session's outputs may be released
 * while work in the stream still reads them, other tensors must live until the run has ended. NULL means the default
 * stream; `enable` 0 ends the arrangement. FLAME_INVALID_ARGUMENT for CPU artifacts. */
FLAME_API flame_status *flame_session_set_stream(flame_session *session, void *stream, int enable);
/** Waits for the runs of this session that returned before they had ended, and reports what went wrong in them: call it
 *  before their results are used where errors matter. Errors: FLAME_BAD_DATA, FLAME_DEVICE, as flame_session_run. */
FLAME_API flame_status *flame_session_wait(flame_session *session);
/** Makes the run in progress, if there is one, end with FLAME_CANCELLED at its next command. */
FLAME_API void flame_session_cancel(flame_session *session);

/** Called after each command for every tensor the command wrote, in execution order: `name` is the model's name of the
 *  value, or "" where it has none; `node` names the source nodes of the command. `value` must not be released and
 *  is valid during the call only (flame_tensor_copy keeps it). NULL removes the observer. Not during a run. */
typedef void (*flame_observer_fn)(const char *name, const char *node, const flame_value *value, void *user);
FLAME_API flame_status *flame_session_observe(flame_session *session, flame_observer_fn observer, void *user);

/** Time by command, gathered from the moment it is switched on (enable != 0). */
FLAME_API flame_status *flame_session_profile(flame_session *session, int enable);
typedef struct flame_profile_entry {
  const char *node;    /* source nodes */
  const char *command; /* kernel description or host function */
  uint64_t calls;
  uint64_t nanoseconds;
} flame_profile_entry;
/** Writes at most `capacity` entries in plan order and returns how many there are. */
FLAME_API size_t flame_session_profile_entries(const flame_session *session, flame_profile_entry *entries,
                                               size_t capacity);

/** What the commands of flame_session_profile_entries, in the same order, had to do in all calls together. */
typedef struct flame_profile_work {
  uint64_t bytes; /* that a kernel must read and write, each tensor once; 0 for what is no kernel */
  uint64_t flops; /* arithmetic operations, a multiply-add counts as two; 0 where unknown */
} flame_profile_work;
FLAME_API size_t flame_session_profile_work(const flame_session *session, flame_profile_work *work, size_t capacity);
/** The arithmetic that the commands of flame_session_profile_entries, in the same order, do most of. */
typedef enum flame_math {
  FLAME_MATH_UNKNOWN = 0, /* no kernel, integers, f64 */
  FLAME_MATH_F32 = 1,     /* multiply-adds; pointwise kernels compute narrower types so, too */
  FLAME_MATH_TF32 = 2,    /* matrix instructions, sums in f32 */
  FLAME_MATH_F16 = 3,
  FLAME_MATH_BF16 = 4,
  FLAME_MATH_FORCE_INT = 0x7FFFFFFF
} flame_math;
FLAME_API size_t flame_session_profile_math(const flame_session *session, flame_math *math, size_t capacity);
/** Operations per second of nothing but such arithmetic on the session's GPU: the roofline of kernels that compute. The
 *  matrix instructions are mma.sync, which every GPU from sm_80 on has. Takes some 50 milliseconds. Errors:
 *  FLAME_INVALID_ARGUMENT (FLAME_MATH_UNKNOWN), FLAME_UNSUPPORTED (CPU artifacts; a driver that compiles no PTX), FLAME_DEVICE. */
FLAME_API flame_status *flame_session_peak(flame_session *session, flame_math math, double *flops_per_second);
/** Bytes per second, read and written, of a copy within the memory that the session's kernels use: the roofline of
 *  kernels that only move data. Takes some milliseconds and up to 512 MiB. Errors: FLAME_OUT_OF_MEMORY, FLAME_DEVICE.
 */
FLAME_API flame_status *flame_session_bandwidth(flame_session *session, double *bytes_per_second);

/* ---- values -------------------------------------------------------------------------------------------------- */

FLAME_API void flame_value_retain(flame_value *value);
FLAME_API void flame_value_release(flame_value *value);
FLAME_API flame_kind flame_value_kind(const flame_value *value);
/** Element type of a tensor, of a sequence's tensors, of an optional's content; FLAME_UNDEFINED where unknown. */
FLAME_API flame_dtype flame_value_dtype(const flame_value *value);

/** A dense row-major tensor with memory of its own (64-byte aligned, uninitialised; strings are empty). `module` may be
 *  NULL; otherwise its allocator is used and the memory counts against its limit. Rank at most 32. */
FLAME_API flame_status *flame_tensor_create(flame_module *module, flame_dtype dtype, const int64_t *dims, int32_t rank,
                                            flame_value **value);
/** Wraps the caller's dense row-major memory of `bytes` bytes; nothing is copied. `release` (may be NULL) is called
 * with `user` when the last reference goes. Not for strings. */
FLAME_API flame_status *flame_tensor_wrap(flame_dtype dtype, const int64_t *dims, int32_t rank, void *data,
                                          size_t bytes, void (*release)(void *user), void *user, flame_value **value);
/** A string tensor; lengths may be NULL where the strings are zero-terminated. Copies. */
FLAME_API flame_status *flame_tensor_from_strings(const int64_t *dims, int32_t rank, const char *const *strings,
                                                  const size_t *lengths, flame_value **value);
/** Wraps memory of CUDA device `device` (256-byte alignment avoids a copy in each run); otherwise as flame_tensor_wrap.
 *  Work on it must be done, or ordered by flame_session_set_stream, when a run begins. */
FLAME_API flame_status *flame_tensor_wrap_device(flame_dtype dtype, const int64_t *dims, int32_t rank, int32_t device,
                                                 void *data, size_t bytes, void (*release)(void *user), void *user,
                                                 flame_value **value);
/** A copy in CPU memory, wherever the tensor is; waits for the GPU where it is there. FLAME_BAD_DATA for a session's
 *  tensor as long as nobody has asked about an index out of range in its runs (flame_session_wait). */
FLAME_API flame_status *flame_tensor_copy(const flame_value *tensor, flame_value **value);
/** -1: CPU memory; otherwise the number of the CUDA device. */
FLAME_API int32_t flame_tensor_device(const flame_value *tensor);
FLAME_API int32_t flame_tensor_rank(const flame_value *tensor);
FLAME_API const int64_t *flame_tensor_dims(const flame_value *tensor);
FLAME_API size_t flame_tensor_elements(const flame_value *tensor);
FLAME_API size_t flame_tensor_bytes(const flame_value *tensor); /* 0 for strings */
FLAME_API void *flame_tensor_data(const flame_value *tensor);   /* NULL for strings; a device pointer on a GPU */
/** Element `index` of a string tensor; the pointer lives as long as the tensor and is zero-terminated. */
FLAME_API flame_status *flame_tensor_string(const flame_value *tensor, size_t index, const char **string,
                                            size_t *length);

/** A sequence of tensors of one element type; references the items. */
FLAME_API flame_status *flame_sequence_create(flame_dtype dtype, flame_value *const *items, size_t count,
                                              flame_value **value);
FLAME_API size_t flame_sequence_length(const flame_value *sequence);
/** A new reference to item `index`. */
FLAME_API flame_status *flame_sequence_at(const flame_value *sequence, size_t index, flame_value **item);

/** An optional that holds `content` (a tensor or a sequence), or nothing where content is NULL. */
FLAME_API flame_status *flame_optional_create(flame_value *content, flame_value **value);
FLAME_API int flame_optional_has(const flame_value *optional);
FLAME_API flame_status *flame_optional_get(const flame_value *optional, flame_value **content);

/** DLPack. Import takes over the managed tensor on success (its deleter runs when the value goes) and leaves it alone
 * on an error; tensors must be in CPU or CUDA device memory; strided ones are copied (on a GPU: refused). Export
 * references the value's memory; free it with its own deleter. Versioned tensors of major version 1 are accepted; those
 * that are flagged read-only can be inputs and receive no output. */
FLAME_API flame_status *flame_tensor_from_dlpack(struct DLManagedTensor *managed, flame_value **value);
FLAME_API flame_status *flame_tensor_from_dlpack_versioned(struct DLManagedTensorVersioned *managed,
                                                           flame_value **value);
FLAME_API flame_status *flame_tensor_to_dlpack(const flame_value *tensor, struct DLManagedTensor **managed);
FLAME_API flame_status *flame_tensor_to_dlpack_versioned(const flame_value *tensor,
                                                         struct DLManagedTensorVersioned **managed);

#ifdef __cplusplus
}
#endif
#endif
