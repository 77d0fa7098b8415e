//===- RuntimeCorpus.cpp - seeds for the runtime's fuzzers ----------------===//
//
// Writes <directory>/{artifact,npy,pb,regex}/…: artifacts without seal (the harness adds it), arrays of every type,
// protobufs of every kind, patterns.
//
//===----------------------------------------------------------------------===//

#include "Models.h"
#include "Npy.h"
#include "Random.h"

#include <filesystem>
#include <string>

using namespace flame;

namespace {

std::string directory;

void seed(const std::string &fuzzer, const std::string &name, std::span<const uint8_t> bytes) {
  std::filesystem::create_directories(directory + "/" + fuzzer);
  io::writeFile(directory + "/" + fuzzer + "/" + name, bytes);
}

void artifact(const std::string &name, test::PlanBuilder plan) {
  const auto sealed = plan.finish();
  seed("artifact", name, std::span(sealed).first(sealed.size() - plan::kSealBytes));
}

/// No kernels, so the harness runs it: reads elements, splits and joins sequences in a loop, which has its trip count from a
/// tensor or from the plan.
test::PlanBuilder hostOnly(bool counted) {
  using namespace test;
  PlanBuilder p;
  const int n = p.symbol("n"), k = p.symbol("k"), ne = p.symbolExpr(n), one = p.constant(1);
  const int x = p.input("x", DType::F32, {ne}, {"n"});
  const int count = p.input("count", DType::I64, {}, {});
  p.bind(x, {n});
  p.readElement(count, 0, k);
  p.addBlock("init");
  const int body = p.addBlock("body");
  p.argument("i", DType::I64, {}, body);
  const int go = p.argument("go", DType::Bool, {}, body);
  const int q = p.slot("q", Storage::Input, DType::F32, {}, body);
  p.root.slots[q]->kind = ValueKind::Sequence;
  p.root.blocks[body]->args.push_back(q);
  const int grown = p.slot("grown", Storage::Heap, DType::F32, {}, body);
  p.root.slots[grown]->kind = ValueKind::Sequence;
  p.host("sequence_insert", {q, x}, {grown}, "insert", body);
  p.root.blocks[body]->results = {go, grown};
  const int start = p.slot("start", Storage::Heap, DType::F32, {}),
            last = p.slot("last", Storage::Heap, DType::F32, {});
  p.root.slots[start]->kind = p.root.slots[last]->kind = ValueKind::Sequence;
  p.host("split_to_sequence", {x}, {start}, "split");
  plan::LoopT l;
  if (counted)
    l.count = p.symbolExpr(k);
  else
    l.trip = count;
  l.body = body;
  l.carried = {start};
  l.results = {last};
  p.command(std::move(l), "loop");
  const int y = p.heap("y", DType::F32, {p.mul(p.symbolExpr(k), one)});
  p.host("concat_from_sequence", {last}, {y}, "join");
  const int values = p.heap("values", DType::F32, {ne}), indices = p.heap("indices", DType::I64, {ne});
  auto attribute = std::make_unique<plan::AttributeT>();
  attribute->name = "k";
  attribute->ints = {1};
  p.host("topk", {x}, {values, indices}, "topk").attributes.push_back(std::move(attribute));
  p.output("y", y, {"?"});
  p.output("values", values, {"?"});
  p.output("q", last, {});
  return p;
}

std::vector<uint8_t> bytesOf(std::initializer_list<int> list) { return {list.begin(), list.end()}; }

} // namespace

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  directory = argv[1];
  artifact("add_scale", test::addScale());
  artifact("loop", test::loop());
  artifact("everything", test::everything());
  artifact("host_only", hostOnly(/*counted=*/false));
  artifact("host_only_counted", hostOnly(/*counted=*/true));

  std::mt19937_64 generator(1);
  for (int d = 1; d <= FLAME_I2; ++d) {
    const std::vector<int64_t> shape = {2, 3};
    const auto dtype = static_cast<flame_dtype>(d);
    // The harness reads the expected type from the first byte.
    auto bytes = io::formatNpy(io::randomTensor(dtype, shape, generator));
    bytes.insert(bytes.begin(), static_cast<uint8_t>(d));
    seed("npy", flame_dtype_name(dtype), bytes);
  }
  // An archive with one stored member of no bytes.
  seed("npy", "npz",
       bytesOf({0xff, 'P', 'K', 3, 4, 20,  0,   0,   0, 0, 0,  0, 0,  0,  0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
                0,    1,   0,   0, 0, 'x', 'P', 'K', 1, 2, 20, 0, 20, 0,  0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
                0,    0,   0,   0, 0, 0,   0,   0,   1, 0, 0,  0, 0,  0,  0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0,
                'x',  'P', 'K', 5, 6, 0,   0,   0,   0, 1, 0,  1, 0,  47, 0, 0, 0, 31, 0, 0, 0, 0, 0}));
  seed("npy", "deflate", bytesOf({0xfe, 23, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40, 0x27, 0x01}));
  seed("pb", "tensor", bytesOf({0, 8, 2, 16, 1, 0x4a, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40}));
  seed("pb", "ints", bytesOf({0, 0x0a, 2, 1, 2, 16, 6, 0x2a, 2, 1, 2}));
  seed("pb", "strings", bytesOf({0, 8, 1, 16, 8, 0x32, 1, 'a'}));
  std::vector<uint8_t> rank33 = {0, 16, 8};
  for (int i = 0; i < 33; ++i)
    rank33.insert(rank33.end(), {8, static_cast<uint8_t>(i != 7)});
  seed("pb", "rank33", rank33);
  seed("pb", "sequence", bytesOf({1, 16, 1, 0x1a, 6, 8, 1, 16, 7, 0x38, 5}));
  seed("pb", "optional", bytesOf({2, 16, 1, 0x1a, 6, 8, 1, 16, 7, 0x38, 5}));
  const std::string patterns[] = {"(a|b)*c{2,3}?[^x-z[:alpha:]\\d]\\bq$", "(?i)^\\Qa.b\\E|(?P<n>\\x{41}.)+\\z",
                                  "(?s-i:.+)*"};
  int number = 0;
  for (const std::string &p : patterns) {
    const std::string text = p + std::string(1, '\0') + "abcabc";
    seed("regex", std::to_string(number++), {reinterpret_cast<const uint8_t *>(text.data()), text.size()});
  }
}
