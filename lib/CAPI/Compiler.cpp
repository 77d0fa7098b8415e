//===- Compiler.cpp - the compiler's C interface ----------------------------------------------------------------------===//
#include "flame-c/compiler.h"
#include "flame/Pipelines/Compiler.h"
#include <cstring>
#include <new>

using namespace flame;

struct flame_compile_result {
  CompileResult result;
};

static const char *phaseName(Progress::Phase phase) {
  switch (phase) {
  case Progress::Phase::Importing:
    return "importing";
  case Progress::Phase::Optimizing:
    return "optimizing";
  case Progress::Phase::Kernels:
    return "kernels";
  }
  return "";
}

/// The caller's options, as far as its version of the struct reaches.
static bool readOptions(const flame_compile_options *given, flame_compile_options &options, std::string &error) {
  options = {};
  if (!given)
    return true;
  if (given->struct_size < sizeof(size_t) || given->struct_size > 4096) {
    error = "flame_compile_options.struct_size is " + std::to_string(given->struct_size) +
            "; set it to sizeof(flame_compile_options)";
    return false;
  }
  std::memcpy(&options, given, std::min(given->struct_size, sizeof options));
  if (unsigned(options.weights) > FLAME_COMPILE_WEIGHTS_EXTERNAL) {
    error = "flame_compile_options.weights is " + std::to_string(unsigned(options.weights)) +
            "; it must be one of the values of flame_compile_weights";
    return false;
  }
  return true;
}

flame_compile_result *flame_compile(const char *path, const flame_compile_options *given) {
  auto *made = new (std::nothrow) flame_compile_result;
  if (!made)
    return nullptr;
  try {
    flame_compile_options options;
    std::string error;
    if (!path)
      error = "the model's path is null";
    if (!error.empty() || !readOptions(given, options, error)) {
      made->result.status = Status::Usage;
      made->result.errors.push_back(error);
      return made;
    }
    CompileOptions settings;
    if (options.cpu)
      settings.cpu = options.cpu;
    settings.threads = options.threads;
    settings.weights = options.weights == FLAME_COMPILE_WEIGHTS_EMBED      ? CompileOptions::Weights::Embed
                       : options.weights == FLAME_COMPILE_WEIGHTS_EXTERNAL ? CompileOptions::Weights::External
                                                                           : CompileOptions::Weights::Auto;
    std::function<void(const Progress &)> progress;
    if (options.progress)
      progress = [&](const Progress &p) {
        options.progress(options.progress_user, phaseName(p.phase), p.done, p.total);
      };
    made->result = compileModel(path, settings, progress);
  } catch (const std::bad_alloc &) {
    made->result = {};
    made->result.status = Status::OutOfMemory;
    made->result.errors.push_back("out of memory while compiling");
  } catch (const std::exception &exception) {
    made->result = {};
    made->result.status = Status::Internal;
    made->result.errors.push_back(std::string("internal error: ") + exception.what());
  }
  return made;
}

int flame_compile_result_status(const flame_compile_result *result) {
  return result ? int(result->result.status) : int(Status::OutOfMemory);
}

const char *flame_compile_result_message(const flame_compile_result *result, size_t index) {
  if (!result)
    return nullptr;
  const CompileResult &r = result->result;
  if (index < r.errors.size())
    return r.errors[index].c_str();
  index -= r.errors.size();
  return index < r.warnings.size() ? r.warnings[index].c_str() : nullptr;
}

const void *flame_compile_result_artifact(const flame_compile_result *result, size_t *size) {
  bool ok = result && result->result.status == Status::Ok;
  if (size)
    *size = ok ? result->result.artifact.size() : 0;
  return ok ? result->result.artifact.data() : nullptr;
}

void flame_compile_result_free(flame_compile_result *result) { delete result; }
