/*===- compiler.h - the compiler as a C library ------------------------------------------------------------------------===*\
 *
 * Compiles a model file to an artifact, which flame_rt.h loads. For applications that compile where they run:
 *
 *     flame_compile_result *result = flame_compile("model.onnx", NULL);
 *     if (flame_compile_result_status(result) == 0)
 *       … flame_compile_result_artifact(result, &size) …
 *     flame_compile_result_free(result);
 *
 * Calls may come from any thread at any time; compilations share nothing. No function lets a C++ exception out.
 *
\*===--------------------------------------------------------------------------------------------------------------------===*/
#ifndef FLAME_C_COMPILER_H
#define FLAME_C_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLAME_COMPILER_API __attribute__((visibility("default")))

typedef enum flame_compile_weights {
  FLAME_COMPILE_WEIGHTS_AUTO = 0,    /* embedded up to 64 MiB */
  FLAME_COMPILE_WEIGHTS_EMBED = 1,   /* part of the artifact */
  FLAME_COMPILE_WEIGHTS_EXTERNAL = 2 /* stay in the model's files, which must be beside the artifact */
} flame_compile_weights;

/* Zero means the default for every field but struct_size, which is sizeof(flame_compile_options): fields that a later
 * version adds stay at their defaults for callers built before it. */
typedef struct flame_compile_options {
  size_t struct_size;
  const char *cpu;                  /* "native" (default), or a processor of LLVM: "x86-64-v3", "znver3" */
  unsigned threads;                 /* that compile kernels; 0: all cores */
  flame_compile_weights weights;
  /* Called from the compiling thread with "importing", "optimizing" or "kernels" and how much of it is done; total is 0
   * while that is not known. */
  void (*progress)(void *user, const char *phase, unsigned done, unsigned total);
  void *progress_user;
} flame_compile_options;

typedef struct flame_compile_result flame_compile_result;

/* Never null, except where not even the result could be allocated. `options` may be null. */
FLAME_COMPILER_API flame_compile_result *flame_compile(const char *model_path, const flame_compile_options *options);

/* 0, or flamec's exit code: 1 internal error, 2 a bad option, 3 bad input, 4 unsupported. */
FLAME_COMPILER_API int flame_compile_result_status(const flame_compile_result *result);

/* Errors first, then warnings; each a complete message. Null past the end. */
FLAME_COMPILER_API const char *flame_compile_result_message(const flame_compile_result *result, size_t index);

/* The artifact's bytes, valid as long as the result; null and size 0 if the status is not 0. */
FLAME_COMPILER_API const void *flame_compile_result_artifact(const flame_compile_result *result, size_t *size);

/* Null is fine. */
FLAME_COMPILER_API void flame_compile_result_free(flame_compile_result *result);

#ifdef __cplusplus
}
#endif

#endif /* FLAME_C_COMPILER_H */
