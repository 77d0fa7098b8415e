//===- Module.cpp - see Module.h ------------------------------------------===//

#include "Module.h"
#include "Session.h"
#include "cuda/Backend.h"

#include <algorithm>
#include <cstring>

namespace flame::rt {

Module::Module(const ModuleOptions &options)
    : theOptions(options),
      theAllocator(makeRef<Allocator>(options.hooks, makeRef<MemoryAccount>(options.memoryLimit, options.failAllocation),
                                      MemoryModes{options.poison, options.redZones})) {}

Module::~Module() = default;

Ref<Module> Module::load(const std::string &path, const ModuleOptions &options) {
  auto module = Ref<Module>::adopt(new Module(options));
  module->artifact = MappedFile(path);
  const size_t slash = path.rfind('/');
  const std::string own = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  module->bind(module->artifact.data(), module->artifact.size(), path,
               options.weightsDirectoryGiven ? options.weightsDirectory : own);
  return module;
}

Ref<Module> Module::loadMemory(const void *data, size_t bytes, const ModuleOptions &options) {
  auto module = Ref<Module>::adopt(new Module(options));
  const auto *memory = static_cast<const uint8_t *>(data);
  if (!options.borrow) {
    module->artifactCopy = allocateBuffer(module->theAllocator, bytes);
    std::memcpy(module->artifactCopy->data, data, bytes);
    memory = static_cast<const uint8_t *>(module->artifactCopy->data);
  } else if (reinterpret_cast<uintptr_t>(data) % kAlignment) {
    fail(FLAME_INVALID_ARGUMENT, "FLAME_BORROW needs an artifact in memory aligned to ", kAlignment, " bytes");
  }
  module->bind(memory, bytes, "artifact in memory", options.weightsDirectoryGiven ? options.weightsDirectory : ".");
  return module;
}

void Module::bind(const uint8_t *data, size_t bytes, const std::string &name, const std::string &directory) {
  thePlan = readPlan(data, bytes, name);
  values.resize(thePlan.slots.size());
  bindConstants();
  bindParams(directory);
  this->name = name;
  thePool = std::make_unique<ThreadPool>(chooseThreadCount(theOptions.threads));
  if (thePlan.device == DeviceKind::Cpu)
    makeBackend();
}

void Module::bindConstants() {
  for (size_t i = 0; i < thePlan.slots.size(); ++i) {
    const SlotInfo &slot = thePlan.slots[i];
    if (slot.storage != Storage::Constant)
      continue;
    const ConstantInfo &constant = thePlan.constants[slot.source];
    Tensor tensor;
    if (constant.dtype == FLAME_STRING) {
      tensor = makeTensor(theAllocator, FLAME_STRING, constant.dims);
      for (size_t k = 0; k < constant.strings.size(); ++k)
        tensor.strings()[k] = constant.strings[k];
    } else {
      tensor.dtype = constant.dtype;
      tensor.dims = constant.dims;
      // Nobody writes to a constant; the interface has one pointer type for both directions.
      tensor.data = const_cast<uint8_t *>(constant.data);
      tensor.bytes = constant.bytes;
    }
    tensor.origin = Origin::Static;
    values[i] = Value::of(std::move(tensor));
  }
}

void Module::bindParams(const std::string &directory) {
  for (const FileInfo &info : thePlan.files) {
    const std::string path = directory.empty() ? info.path : cat(directory, '/', info.path);
    MappedFile file = [&] {
      try {
        return MappedFile(path);
      } catch (Error &error) {
        error.message += " (the model's weights; name their directory with the option weights_directory)";
        throw;
      }
    }();
    if (file.size() != info.size)
      fail(FLAME_IO, path, ": the file of weights has ", file.size(), " bytes, the artifact was made from one of ",
           info.size, "; use the original file or compile the model again");
    files.push_back(std::move(file));
  }
  for (size_t i = 0; i < thePlan.slots.size(); ++i) {
    const SlotInfo &slot = thePlan.slots[i];
    if (slot.storage != Storage::Param)
      continue;
    const ParamInfo &param = thePlan.params[slot.source];
    const uint8_t *data =
        param.embedded != -1 ? thePlan.constants[param.embedded].data : files[param.file].data() + param.offset;
    Tensor tensor;
    if (param.dtype != FLAME_UNDEFINED && reinterpret_cast<uintptr_t>(data) % elementAlignment(param.dtype)) {
      // The processor would not mind, C++ does: the only weights that are ever copied.
      log(FLAME_LOG_WARNING, cat("weight '", param.name, "' is not aligned to its elements and has been copied"));
      tensor = makeTensor(theAllocator, param.dtype, param.dims);
      std::memcpy(tensor.data, data, tensor.bytes);
    } else {
      tensor.dtype = param.dtype;
      tensor.dims = param.dims;
      tensor.data = const_cast<uint8_t *>(data);
      tensor.bytes = *countBytes(param.dtype, param.dims);
    }
    tensor.origin = Origin::Static;
    values[i] = Value::of(std::move(tensor));
  }
}

void Module::makeBackend() try {
  if (thePlan.device == DeviceKind::Cpu)
    theBackend = makeHostBackend(thePlan, *thePool, theAllocator);
  else
    theBackend = cuda::makeBackend(thePlan, theOptions, theAllocator);
} catch (Error &error) {
  error.message = cat(name, ": ", error.message);
  throw;
}

void Module::placeOnDevice() {
  checkFiles();
  std::vector<Value> there = values;
  const std::vector<uint8_t> transient = readByInitAlone(thePlan);
  theBackend->place(there, transient);
  std::vector<Mirror> mirrors;
  for (size_t i = 0; i < values.size(); ++i)
    if (there[i].set && !there[i].tensor.onHost()) {
      if (transient[i]) {
        onHost.emplace_back(i, values[i]);
        continue;
      }
      const Tensor &t = there[i].tensor;
      mirrors.push_back({t.as<char>(), t.bytes, nullptr, values[i].tensor});
    }
  std::sort(mirrors.begin(), mirrors.end(), [](const Mirror &a, const Mirror &b) { return a.begin < b.begin; });
  theMirrors = std::move(mirrors);
  values = std::move(there);
}

void Module::initialise() {
  std::lock_guard lock(initMutex);
  if (initialised)
    return;
  if (!theBackend)
    makeBackend();
  if (!placed)
    placeOnDevice();
  placed = true;
  if (thePlan.hasInit()) {
    Executor executor(*this);
    executor.runInit();
    for (size_t i = 0; i < thePlan.slots.size(); ++i)
      if (thePlan.slots[i].storage == Storage::Persistent)
        values[i] = executor.persistentValue(i);
  }
  for (auto &[slot, value] : onHost)
    values[slot] = std::move(value);
  onHost.clear();
  theBackend->forgetTransient();
  initialised = true;
}

void Module::checkFiles() const {
  artifact.checkNotShrunk();
  for (const MappedFile &file : files)
    file.checkNotShrunk();
}

void Module::log(flame_log_level level, const std::string &message) const {
  if (theOptions.log)
    theOptions.log(level, message.c_str(), theOptions.logUser);
}

} // namespace flame::rt
