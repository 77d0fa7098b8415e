//===- Compile.cpp - see Compile.h --------------------------------------------------------------------------------===//
#include "flame/Target/Cuda/Compile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Regex.h"
#include <atomic>
#include <thread>

using namespace flame;
using namespace flame::cuda;

const Unit::Part *flame::cuda::blamedKernel(const Unit &unit, llvm::StringRef log) {
  // "model.cu(123): error: …"; the optimizer and the assembler speak of functions instead.
  llvm::SmallVector<llvm::StringRef> match;
  unsigned line = 0;
  if (llvm::Regex("model\\.cu\\(([0-9]+)\\): (catastrophic )?error").match(log, &match) &&
      !match[1].getAsInteger(10, line)) {
    const Unit::Part *blamed = nullptr;
    for (const Unit::Part &part : unit.parts)
      if (part.firstLine <= line)
        blamed = &part;
    return blamed;
  }
  for (const Unit::Part &part : unit.parts)
    if (log.contains("'" + part.symbol + "'"))
      return &part;
  return nullptr;
}

static llvm::Expected<std::vector<char>> compileUnit(const Nvrtc &nvrtc, const Unit &unit,
                                                     llvm::StringRef architecture) {
  llvm::Expected<std::vector<char>> code = nvrtc.compile(unit.source, architecture);
  if (code)
    return code;
  std::string message = llvm::toString(code.takeError());
  const Unit::Part *part = blamedKernel(unit, message);
  for (size_t at = 0; unit.file != "model.cu" && (at = message.find("model.cu(", at)) != std::string::npos;
       at += unit.file.size())
    message.replace(at, strlen("model.cu"), unit.file);
  std::string where;
  if (part)
    where = "kernel '" + part->symbol + "' (" + part->description + "), which begins at line " +
            std::to_string(part->firstLine) + ": ";
  else if (unit.parts.size() == 1)
    where = "kernel '" + unit.parts[0].symbol + "' (" + unit.parts[0].description + "): ";
  else
    where = "one of the kernels '" + unit.parts.front().symbol + "' to '" + unit.parts.back().symbol + "': ";
  return llvm::createStringError(where + message);
}

llvm::Expected<CompiledUnits> flame::cuda::compileUnits(const Nvrtc &nvrtc, llvm::ArrayRef<Unit> units,
                                                        llvm::ArrayRef<std::string> architectures, unsigned threads,
                                                        FileCache &cache, llvm::function_ref<void(unsigned)> progress) {
  struct Job {
    const Unit *unit;
    llvm::StringRef architecture;
    std::string key, error;
    std::vector<char> code;
  };
  CompiledUnits result;
  std::vector<Job> jobs;
  std::vector<Job *> missing;
  const std::string identity = nvrtc.identity();
  for (const Unit &unit : units)
    for (const std::string &architecture : architectures)
      jobs.push_back({&unit, architecture, {}, {}, {}});
  for (Job &job : jobs) {
    std::string options = llvm::join(Nvrtc::options(job.architecture), "\n");
    job.key = FileCache::key({"cuda code", identity, options, job.architecture, job.unit->source});
    if (auto code = cache.load(job.key)) {
      job.code = std::move(*code);
      ++result.cached;
    } else {
      missing.push_back(&job);
    }
  }
  progress(result.cached);

  // The largest first, so that none of them is left for the end.
  llvm::stable_sort(missing, [](Job *a, Job *b) { return a->unit->source.size() > b->unit->source.size(); });
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  unsigned done = result.cached;
  auto work = [&] {
    for (size_t i; !failed && (i = next++) < missing.size();) {
      Job &job = *missing[i];
      auto code = compileUnit(nvrtc, *job.unit, job.architecture);
      if (code) {
        job.code = std::move(*code);
        cache.store(job.key, job.code);
      } else {
        job.error = llvm::toString(code.takeError());
        failed = true;
      }
      std::lock_guard lock(mutex);
      progress(++done);
    }
  };
  std::vector<std::thread> workers;
  for (size_t i = 1; i < std::min<size_t>(std::max(1u, threads), missing.size()); ++i)
    workers.emplace_back(work);
  work();
  for (std::thread &worker : workers)
    worker.join();
  for (Job &job : jobs) {
    if (!job.error.empty())
      return llvm::createStringError(job.error);
    result.codes.push_back(std::move(job.code));
  }
  return result;
}
