//===- ScheduleFile.cpp - see ScheduleFile.h ----------------------------------------------------------------------===//
#include "flame/Target/Cuda/ScheduleFile.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <limits>

using namespace flame;
using namespace flame::cuda;
namespace json = llvm::json;

llvm::Error ScheduleFile::Entry::error(const llvm::Twine &message) const {
  return llvm::createStringError(place + ": " + message);
}

bool flame::cuda::read(const json::Value &value, int &number) {
  std::optional<int64_t> given = value.getAsInteger();
  if (!given || *given < 0 || *given > std::numeric_limits<int>::max())
    return false;
  number = int(*given);
  return true;
}
bool flame::cuda::read(const json::Value &value, bool &flag) {
  std::optional<bool> given = value.getAsBoolean();
  if (given)
    flag = *given;
  return given.has_value();
}

llvm::Expected<ScheduleFile> ScheduleFile::open(llvm::StringRef path) {
  ScheduleFile file;
  if (path.empty())
    return file;
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return llvm::createStringError(path + ": can't be read: " + buffer.getError().message());
  constexpr size_t most = 16 << 20;
  if ((*buffer)->getBufferSize() > most)
    return llvm::createStringError(path + ": is too long for a file of schedules");
  llvm::Expected<json::Value> parsed = json::parse((*buffer)->getBuffer());
  if (!parsed)
    return llvm::createStringError(path + ": is not JSON: " + llvm::toString(parsed.takeError()));
  json::Array *array = parsed->getAsArray();
  if (!array)
    return llvm::createStringError(path + ": should be an array of schedules, as flamec compile --emit=schedules prints");
  for (auto [i, value] : llvm::enumerate(*array)) {
    Entry entry;
    entry.place = (path + ": entry " + llvm::Twine(i + 1)).str();
    json::Object *object = value.getAsObject();
    std::optional<llvm::StringRef> family = object ? object->getString("family") : std::nullopt;
    if (!family)
      return entry.error("has no \"family\"");
    entry.family = family->str();
    for (const auto &[name, member] : *object)
      if (llvm::StringRef key = name; key != "family" && key != "problem" && key != "schedule")
        return entry.error("has an unknown member \"" + key + "\"; there are family, problem and schedule");
    if (json::Value *problem = object->get("problem")) {
      if (!problem->getAsObject())
        return entry.error("\"problem\" is no object");
      entry.problem = std::move(*problem->getAsObject());
    }
    json::Value *schedule = object->get("schedule");
    if (!schedule || (schedule->kind() != json::Value::Object && schedule->kind() != json::Value::Null))
      return entry.error("\"schedule\" is neither an object nor null");
    entry.schedule = std::move(*schedule);
    file.entries.push_back(std::move(entry));
  }
  return file;
}

const ScheduleFile::Entry *ScheduleFile::find(llvm::StringRef family, const json::Object &problem) {
  for (const Entry &entry : entries) {
    if (entry.family != family)
      continue;
    bool agrees = llvm::all_of(entry.problem, [&](const auto &member) {
      const json::Value *value = problem.get(member.first);
      return value && *value == member.second;
    });
    if (agrees) {
      entry.used = true;
      return &entry;
    }
  }
  return nullptr;
}

void ScheduleFile::list(llvm::StringRef family, json::Object problem, json::Value schedule) {
  for (const Entry &entry : chosen)
    if (entry.family == family && entry.problem == problem)
      return;
  Entry entry;
  entry.family = family.str();
  entry.problem = std::move(problem);
  entry.schedule = std::move(schedule);
  chosen.push_back(std::move(entry));
}

std::string ScheduleFile::text() const {
  std::string all;
  llvm::raw_string_ostream out(all);
  out << "[";
  for (auto [i, entry] : llvm::enumerate(chosen))
    out << (i ? ",\n " : "\n ")
        << json::Value(json::Object{{"family", entry.family}, {"problem", json::Object(entry.problem)}, {"schedule", entry.schedule}});
  out << "\n]\n";
  return all;
}

std::string ScheduleFile::unused() const {
  for (const Entry &entry : entries)
    if (!entry.used)
      return entry.place + ": no kernel of this model has a " + entry.family + " schedule for such a problem; "
             "flamec compile --emit=schedules prints those there are";
  return "";
}
