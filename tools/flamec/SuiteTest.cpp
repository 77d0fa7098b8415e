//===- SuiteTest.cpp - flamec suite-test: one case of the ONNX backend suite ------------------------------------------===//
//
// Hidden from --help. DIR holds model.onnx and test_data_set_*/{input,output}_*.pb; prints PASS, or FAIL and the reason.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Compare.h"
#include "Help.h"
#include "OnnxPb.h"
#include <cstdio>
#include <filesystem>
#include <memory>

using namespace flame;
using namespace flame::tool;
namespace fs = std::filesystem;

namespace {

int verdict(Status status, const std::string &message) {
  std::printf("%s%s\n", status == Status::Ok ? "PASS" : "FAIL ", message.c_str());
  return int(status);
}

int runCase(const std::string &folder, const std::string &target, io::Tolerance tolerance, Console &console) {
  CompileOptions options;
  options.target = target;
  options.weights = CompileOptions::Weights::Embed;
  CompileResult compiled;
  if (int code = compileWithProgress((fs::path(folder) / "model.onnx").string(), options, console, compiled, true))
    return verdict(Status(code), compiled.errors.empty() ? "no message" : compiled.errors.front());
  Module module = Module::loadMemory(compiled.artifact);
  Session session(module);
  std::vector<flame_port> inputs = module.inputs(), outputs = module.outputs();
  unsigned sets = 0;
  for (;; ++sets) {
    fs::path set = fs::path(folder) / ("test_data_set_" + std::to_string(sets));
    if (!fs::exists(set))
      break;
    std::vector<Value> feeds;
    for (size_t i = 0; i < inputs.size(); ++i)
      feeds.push_back(io::readOnnxPb((set / ("input_" + std::to_string(i) + ".pb")).string(), inputs[i].kind));
    std::vector<Value> results = session.run(feeds, outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      fs::path file = set / ("output_" + std::to_string(i) + ".pb");
      if (!fs::exists(file))
        return verdict(Status::BadInput, file.string() + " does not exist");
      Value expected = io::readOnnxPb(file.string(), outputs[i].kind);
      io::Comparison comparison = io::compare(results[i], expected, tolerance);
      if (!comparison.equal)
        return verdict(Status::Accuracy, std::string("output '") + outputs[i].name + "': " + comparison.message);
    }
  }
  if (sets == 0)
    return verdict(Status::BadInput, folder + " has no test_data_set_0");
  return verdict(Status::Ok, "");
}

} // namespace

Command flame::tool::addSuiteTest(CLI::App &app, Console &console) {
  struct State {
    std::string folder, target = "cpu";
    io::Tolerance tolerance;
  };
  auto state = std::make_shared<State>();
  CLI::App *sub = app.add_subcommand("suite-test", "Run one case of the ONNX backend suite");
  sub->group("");
  sub->add_option("folder", state->folder, "folder of the case")->required()->type_name("DIR");
  sub->add_option("--target", state->target, "cpu (default) or cuda")->check(oneOf({"cpu", "cuda"}));
  sub->add_option("--rtol", state->tolerance.relative)->capture_default_str();
  sub->add_option("--atol", state->tolerance.absolute)->capture_default_str();
  return [state, &console]() -> int {
    try {
      return runCase(state->folder, state->target, state->tolerance, console);
    } catch (const std::exception &error) {
      return verdict(Status::Internal, error.what());
    }
  };
}
