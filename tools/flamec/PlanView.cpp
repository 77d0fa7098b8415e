//===- PlanView.cpp - what an artifact says about itself --------------------------------------------------------------===//
#include "PlanView.h"
#include "Bytes.h"
#include "PlanFormat.h"
#include <algorithm>
#include <map>

using namespace flame;
using namespace flame::tool;

PlanView::PlanView(std::span<const uint8_t> bytes, const std::string &origin) {
  auto fail = [&](const std::string &what) { throw io::InputError(origin + ": " + what); };
  if (bytes.empty())
    fail("it is empty, not an artifact");
  if (bytes.size() < 16 || std::memcmp(bytes.data() + 4, "FLME", 4) != 0)
    fail("it is not an artifact of flame; compile a model with `flamec compile`");
  switch (plan::checkSeal(bytes.data(), bytes.size())) {
  case plan::SealState::Missing:
    fail("the artifact is truncated or has trailing bytes; copy or compile it again");
    break;
  case plan::SealState::Broken:
    fail("the artifact is damaged (its checksum does not match); copy or compile it again");
    break;
  case plan::SealState::Valid:
    break;
  }
  flatbuffers::Verifier verifier(bytes.data(), bytes.size() - plan::kSealBytes, 64, 100'000'000);
  if (!plan::VerifyArtifactBuffer(verifier))
    fail("the artifact is damaged; copy or compile it again");
  artifact = plan::GetArtifact(bytes.data());
  if (artifact->version() != plan::kPlanVersion)
    fail("the artifact has version " + std::to_string(artifact->version()) + ", this flamec reads version " +
         std::to_string(plan::kPlanVersion) + "; compile the model again");
}

/// Element `index`, or null.
template <typename Vector> static auto at(const Vector *vector, int64_t index) -> decltype(vector->Get(0)) {
  if (vector && index >= 0 && uint64_t(index) < vector->size())
    return vector->Get(index);
  return nullptr;
}

static std::string str(const flatbuffers::String *text) { return text ? text->str() : std::string(); }

std::vector<PlanView::Step> PlanView::steps() const {
  std::vector<Step> out;
  collect(1, true, 0, out);
  collect(0, false, 0, out);
  return out;
}

void PlanView::collect(int32_t block, bool init, unsigned depth, std::vector<Step> &out) const {
  const plan::Block *info = at(artifact->blocks(), block);
  if (!info || !info->commands() || depth > 100)
    return;
  for (const plan::Command *command : *info->commands()) {
    Step step;
    step.init = init;
    if (command->nodes())
      for (int32_t node : *command->nodes())
        step.nodes.push_back(str(at(artifact->node_names(), node)));
    if (const plan::Launch *launch = command->body_as_Launch()) {
      const plan::Kernel *kernel = at(artifact->kernels(), launch->kernel());
      step.command = "kernel";
      if (kernel)
        step.name = !str(kernel->description()).empty() ? str(kernel->description()) : str(kernel->symbol());
      out.push_back(std::move(step));
    } else if (const plan::HostCall *call = command->body_as_HostCall()) {
      step.command = str(call->function());
      out.push_back(std::move(step));
    } else if (const plan::If *branch = command->body_as_If()) {
      collect(branch->then_block(), init, depth + 1, out);
      collect(branch->else_block(), init, depth + 1, out);
    } else if (const plan::Loop *loop = command->body_as_Loop()) {
      collect(loop->body(), init, depth + 1, out);
    }
  }
}

PlanView::Weights PlanView::weights() const {
  Weights out;
  if (!artifact->params())
    return out;
  for (const plan::Param *param : *artifact->params()) {
    ++out.count;
    const plan::Constant *constant = at(artifact->constants(), param->embedded());
    uint64_t bytes = constant && constant->data() ? constant->data()->size() : param->length();
    out.bytes += bytes;
    out.embedded += constant ? bytes : 0;
  }
  return out;
}

std::string PlanView::expression(int32_t index) const { return text(index, 0); }

std::string PlanView::text(int32_t index, unsigned depth) const {
  const plan::Expr *e = at(artifact->exprs(), index);
  if (!e || depth > 40)
    return "…";
  auto binary = [&](const char *op) {
    auto side = [&](int32_t operand) {
      const plan::Expr *inner = at(artifact->exprs(), operand);
      std::string out = text(operand, depth + 1);
      return inner && inner->op() != plan::ExprOp::Const && inner->op() != plan::ExprOp::Symbol ? "(" + out + ")" : out;
    };
    return side(e->a()) + op + side(e->b());
  };
  switch (e->op()) {
  case plan::ExprOp::Const:
    return std::to_string(e->imm());
  case plan::ExprOp::Symbol: {
    const plan::SymbolInfo *symbol = at(artifact->symbols(), e->a());
    return symbol && symbol->name() ? symbol->name()->str() : "?";
  }
  case plan::ExprOp::Add:
    return binary("+");
  case plan::ExprOp::Mul:
    return binary("*");
  case plan::ExprOp::FloorDiv:
    return binary("/");
  case plan::ExprOp::Mod:
    return binary("%");
  case plan::ExprOp::Min:
    return "min(" + text(e->a(), depth + 1) + "," + text(e->b(), depth + 1) + ")";
  case plan::ExprOp::Max:
    return "max(" + text(e->a(), depth + 1) + "," + text(e->b(), depth + 1) + ")";
  }
  return "?";
}

namespace {

/// Values of the shape program as far as the shapes of the inputs determine them.
class Evaluation {
public:
  explicit Evaluation(const plan::Artifact &artifact) : artifact(artifact) {
    values.resize(artifact.exprs() ? artifact.exprs()->size() : 0);
  }
  std::map<int32_t, int64_t> symbols;

  void run() {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = eval(*artifact.exprs()->Get(i), int32_t(i));
  }
  std::optional<int64_t> value(int32_t index) const {
    return index >= 0 && size_t(index) < values.size() ? values[index] : std::nullopt;
  }

private:
  std::optional<int64_t> eval(const plan::Expr &e, int32_t self) const {
    if (e.op() == plan::ExprOp::Const)
      return e.imm();
    if (e.op() == plan::ExprOp::Symbol) {
      auto found = symbols.find(e.a());
      return found == symbols.end() ? std::nullopt : std::optional(found->second);
    }
    if (e.a() >= self || e.b() >= self) // operands come first
      return std::nullopt;
    std::optional<int64_t> a = value(e.a()), b = value(e.b());
    int64_t result = 0;
    if (!a || !b)
      return std::nullopt;
    switch (e.op()) {
    case plan::ExprOp::Add:
      return __builtin_add_overflow(*a, *b, &result) ? std::nullopt : std::optional(result);
    case plan::ExprOp::Mul:
      return __builtin_mul_overflow(*a, *b, &result) ? std::nullopt : std::optional(result);
    case plan::ExprOp::Min:
      return std::min(*a, *b);
    case plan::ExprOp::Max:
      return std::max(*a, *b);
    default:
      if (*b == 0 || (*a == INT64_MIN && *b == -1))
        return std::nullopt;
      int64_t quotient = *a / *b - ((*a % *b != 0) && ((*a < 0) != (*b < 0)));
      return e.op() == plan::ExprOp::FloorDiv ? quotient : *a - quotient * *b;
    }
  }

  const plan::Artifact &artifact;
  std::vector<std::optional<int64_t>> values;
};

} // namespace

std::vector<std::pair<std::string, uint64_t>>
PlanView::largestTensors(std::span<const std::vector<int64_t>> inputs, size_t count) const {
  Evaluation shapes(*artifact);
  std::map<int32_t, const std::vector<int64_t> *> known;
  for (size_t i = 0; artifact->inputs() && i < artifact->inputs()->size() && i < inputs.size(); ++i)
    known[artifact->inputs()->Get(i)->slot()] = &inputs[i];
  if (const plan::Block *main = at(artifact->blocks(), 0); main && main->commands())
    for (const plan::Command *command : *main->commands())
      if (const plan::BindDims *bind = command->body_as_BindDims())
        if (auto input = known.find(bind->slot()); input != known.end() && bind->symbols())
          for (size_t d = 0; d < bind->symbols()->size() && d < input->second->size(); ++d)
            shapes.symbols[bind->symbols()->Get(d)] = (*input->second)[d];
  shapes.run();

  std::vector<std::pair<std::string, uint64_t>> out;
  if (!artifact->slots())
    return out;
  for (const plan::Slot *slot : *artifact->slots()) {
    if ((slot->storage() != plan::Storage::Arena && slot->storage() != plan::Storage::Heap) || !slot->dims())
      continue;
    auto dtype = flame_dtype(slot->dtype());
    uint64_t bytes = flame_dtype_size(dtype);
    std::string dims;
    bool valid = bytes != 0;
    for (int32_t expr : *slot->dims()) {
      std::optional<int64_t> dim = shapes.value(expr);
      valid &= dim && *dim >= 0 && !__builtin_mul_overflow(bytes, uint64_t(*dim), &bytes);
      if (!valid)
        break;
      dims += (dims.empty() ? "" : ",") + std::to_string(*dim);
    }
    if (!valid)
      continue;
    std::string name = str(slot->name());
    out.emplace_back((name.empty() ? "an unnamed tensor" : "'" + name + "'") + " " + flame_dtype_name(dtype) + "[" + dims +
                         "]",
                     bytes);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto &a, const auto &b) { return a.second > b.second; });
  out.resize(std::min(out.size(), count));
  return out;
}
