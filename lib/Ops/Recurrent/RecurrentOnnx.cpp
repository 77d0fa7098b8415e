//===- RecurrentOnnx.cpp - RNN, GRU and LSTM as loops over time -------------------------------------------------------===//
//
// For each direction the input projection of all steps is one matrix product before the loop; the loop carries the states
// and stacks the outputs. Sequences of their own lengths keep their state once they have ended; a reverse direction
// reverses only the valid part of each.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace flame;
using llvm::Twine;

namespace {

//===--- activations ---===//

struct Activation {
  enum Kind { Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, Softsign, Softplus, Unknown };
  Kind kind;
  double alpha = 0, beta = 0;

  Value operator()(OnnxNode &n, Value x) const {
    auto number = [&](double value) { return n.scalarLike(x, value); };
    switch (kind) {
    case Relu:
      return n.max(x, number(0));
    case Tanh:
      return n.tanh(x);
    case Sigmoid:
      return n.sigmoid(x);
    case Affine:
      return n.add(n.mul(x, number(alpha)), number(beta));
    case LeakyRelu:
      return n.where(n.less(x, number(0)), n.mul(x, number(alpha)), x);
    case ThresholdedRelu:
      return n.where(n.greater(x, number(alpha)), x, number(0));
    case ScaledTanh:
      return n.mul(n.tanh(n.mul(x, number(beta))), number(alpha));
    case HardSigmoid:
      return n.max(n.min(n.add(n.mul(x, number(alpha)), number(beta)), number(1)), number(0));
    case Elu:
      return n.where(n.less(x, number(0)), n.mul(n.sub(n.exp(x), number(1)), number(alpha)), x);
    case Softsign:
      return n.div(x, n.add(n.abs(x), number(1)));
    case Softplus: // log(1 + e^x) without overflow
      return n.add(n.max(x, number(0)), n.log(n.add(n.exp(n.neg(n.abs(x))), number(1))));
    case Unknown:
      break;
    }
    n.fail("internal: unknown activation");
  }
};

/// The activations of all directions, `defaults.size()` each; alphas and betas are consumed by those that use them.
std::vector<Activation> activations(OnnxNode &n, ArrayRef<std::string> defaults, unsigned directions) {
  std::vector<std::string> names = n.stringsAttr("activations");
  if (names.empty())
    for (unsigned d = 0; d < directions; ++d)
      names.insert(names.end(), defaults.begin(), defaults.end());
  if (names.size() != defaults.size() * directions)
    n.fail("attribute 'activations' has " + Twine(names.size()) + " entries; " + Twine(directions) + " directions of " +
           Twine(defaults.size()) + " functions need " + Twine(defaults.size() * directions));
  SmallVector<double> alphas = n.floatsAttr("activation_alpha"), betas = n.floatsAttr("activation_beta");
  unsigned alpha = 0, beta = 0;
  std::vector<Activation> list;
  for (const std::string &name : names) {
    auto [kind, a, b] = llvm::StringSwitch<std::tuple<Activation::Kind, std::optional<double>, std::optional<double>>>(
                            StringRef(name).lower())
                            .Case("relu", {Activation::Relu, {}, {}})
                            .Case("tanh", {Activation::Tanh, {}, {}})
                            .Case("sigmoid", {Activation::Sigmoid, {}, {}})
                            .Case("affine", {Activation::Affine, 1, 0})
                            .Case("leakyrelu", {Activation::LeakyRelu, 0.01, {}})
                            .Case("thresholdedrelu", {Activation::ThresholdedRelu, 1, {}})
                            .Case("scaledtanh", {Activation::ScaledTanh, 1, 1})
                            .Case("hardsigmoid", {Activation::HardSigmoid, 0.2, 0.5})
                            .Case("elu", {Activation::Elu, 1, {}})
                            .Case("softsign", {Activation::Softsign, {}, {}})
                            .Case("softplus", {Activation::Softplus, {}, {}})
                            .Default({Activation::Unknown, {}, {}});
    if (kind == Activation::Unknown)
      n.fail("activation '" + name + "' is unknown; it must be Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, "
             "ScaledTanh, HardSigmoid, Elu, Softsign or Softplus");
    Activation activation{kind};
    if (a)
      activation.alpha = alpha < alphas.size() ? alphas[alpha] : *a;
    if (b)
      activation.beta = beta < betas.size() ? betas[beta] : *b;
    alpha += a.has_value();
    beta += b.has_value();
    list.push_back(activation);
  }
  return list;
}

//===--- what the three operators share ---===//

/// One direction's operands, as the step function sees them.
struct Direction {
  Value recurrent;     // R transposed: [hidden, gates * hidden]
  Value bias;          // Wb + Rb: [gates * hidden], or null
  Value recurrentBias; // Rb: [gates * hidden], or null
  Value inputBias;     // Wb: [gates * hidden], or null
  Value peepholes;     // [3 * hidden], or null
  ArrayRef<Activation> activations;
};

struct States {
  Value h, c; // [batch, hidden]; c null but for LSTM
};

class Recurrence {
public:
  Recurrence(OnnxNode &n, unsigned gates, ArrayRef<std::string> defaults) : n(n), gates(gates) {
    std::string direction = n.stringAttr("direction", "forward");
    if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
      n.fail("attribute 'direction' is \"" + direction + "\"; it must be forward, reverse or bidirectional");
    directions = direction == "bidirectional" ? 2 : 1;
    firstReverse = direction == "reverse";
    batchFirst = n.intAttr("layout", 0) != 0;
    if (n.hasAttr("clip"))
      clip = n.floatAttr("clip");
    functions = activations(n, defaults, directions);
    for (unsigned i = 0; i < 3; ++i)
      if (n.rank(n.input(i)) != 3)
        n.fail("input " + Twine(i) + " must have rank 3, has rank " + Twine(n.rank(n.input(i))));
    for (unsigned i = 1; i < 3; ++i)
      if (!n.dim(n.input(i), 0).isConstant(directions))
        n.fail("input " + Twine(i) + " holds weights of " + n.dim(n.input(i), 0).str() + " directions, direction '" + direction +
               "' needs " + Twine(directions));
    hidden = n.dim(n.input(2), 2);
    if (n.hasAttr("hidden_size") && hidden.constant() && *hidden.constant() != n.intAttr("hidden_size"))
      n.fail("attribute 'hidden_size' is " + Twine(n.intAttr("hidden_size")) + ", the recurrence weights have " + hidden.str());
    elementType = n.elementType(n.input(0));
    x = n.widen(n.input(0));
    if (batchFirst)
      x = n.transpose(x, {1, 0, 2});
    length = n.dim(x, 0);
    batch = n.dim(x, 1);
    lengths = n.inputOr(4, {});
  }

  using Step = llvm::function_ref<States(const Direction &, Value projected, const States &)>;

  /// Builds all directions and sets the outputs.
  void run(bool hasCell, Step step) {
    SmallVector<Value> ys, hs, cs;
    for (unsigned d = 0; d < directions; ++d) {
      auto [y, last] = runDirection(d, hasCell, step);
      if (y)
        ys.push_back(n.unsqueeze(y, {1}));
      hs.push_back(n.unsqueeze(last.h, {0}));
      if (hasCell)
        cs.push_back(n.unsqueeze(last.c, {0}));
    }
    if (n.wantsOutput(0)) { // [length, directions, batch, hidden]
      Value y = n.concat(ys, 1);
      n.setOutput(0, n.cast(batchFirst ? n.transpose(y, {2, 0, 1, 3}) : y, elementType));
    }
    auto setStates = [&](unsigned output, ArrayRef<Value> states) {
      Value all = n.concat(states, 0);
      n.setOutput(output, n.cast(batchFirst ? n.transpose(all, {1, 0, 2}) : all, elementType));
    };
    setStates(1, hs);
    if (hasCell)
      setStates(2, cs);
  }

  /// Gate `i` of values with gates along the last axis.
  Value gate(Value all, unsigned i, unsigned count = 1) {
    return n.sliceAxis(all, n.rank(all) - 1, hidden * int64_t(i), hidden * int64_t(count));
  }
  Value clipped(Value v) { return clip ? n.max(n.min(v, n.scalarLike(v, *clip)), n.scalarLike(v, -*clip)) : v; }

  OnnxNode &n;
  DimExpr hidden;

private:
  /// The part of a tensor with a leading axis of directions.
  Value part(unsigned input, unsigned d) {
    if (!n.hasInput(input))
      return {};
    return n.squeeze(n.sliceAxis(n.widen(n.input(input)), 0, n.shapes.constant(d), n.shapes.constant(1)), {0});
  }

  Value initialState(unsigned input, unsigned d) {
    if (!n.hasInput(input))
      return n.fill({batch, hidden}, n.scalarLike(x, 0));
    Value all = n.widen(n.input(input));
    if (n.rank(all) != 3)
      n.fail("input " + Twine(input) + " must have rank 3, has rank " + Twine(n.rank(all)));
    if (batchFirst)
      all = n.transpose(all, {1, 0, 2});
    // Its batch is that of X, whatever the model calls it.
    return n.reshape(n.sliceAxis(all, 0, n.shapes.constant(d), n.shapes.constant(1)), ArrayRef<DimExpr>{batch, hidden});
  }

  std::pair<Value, States> runDirection(unsigned d, bool hasCell, Step step) {
    bool reverse = d == 1 || firstReverse;
    Direction direction;
    direction.recurrent = n.transpose(part(2, d), {1, 0});
    direction.activations = ArrayRef(functions).slice(d * (functions.size() / directions), functions.size() / directions);
    if (Value bias = part(3, d)) {
      direction.inputBias = gate(bias, 0, gates);
      direction.recurrentBias = gate(bias, gates, gates);
      direction.bias = n.add(direction.inputBias, direction.recurrentBias);
    }
    direction.peepholes = hasCell ? part(7, d) : Value();
    Value sequence = x;
    if (reverse && lengths)
      sequence = reversed(x);
    Value projected = n.matmul(sequence, n.transpose(part(1, d), {1, 0})); // [length, batch, gates * hidden]
    SmallVector<Value> initial = {initialState(5, d)};
    if (hasCell)
      initial.push_back(initialState(6, d));
    Value trip = n.reshape(n.shapeTensor({length}), GraphBuilder::Axes{});
    Value last = reverse && !lengths ? n.sub(trip, n.i64Scalar(1)) : Value();
    auto results = buildLoop(n, trip, {}, initial, [&](const LoopArguments &arguments) {
      Value position = last ? n.sub(last, arguments.iteration) : arguments.iteration;
      States before{arguments.carried[0], hasCell ? arguments.carried[1] : Value()};
      States after = step(direction, n.gather(projected, position, 0), before);
      LoopYield yield;
      Value y = after.h;
      if (lengths) {
        Value running = n.unsqueeze(n.less(n.cast(arguments.iteration, n.elementType(lengths)), lengths), {1});
        y = n.where(running, after.h, n.scalarLike(after.h, 0));
        after.h = n.where(running, after.h, before.h);
        if (hasCell)
          after.c = n.where(running, after.c, before.c);
      }
      // The sizes of the states are those of the initial ones, whatever broadcasting says.
      yield.carried.push_back(n.reshape(after.h, ArrayRef<DimExpr>{batch, hidden}));
      if (hasCell)
        yield.carried.push_back(n.reshape(after.c, ArrayRef<DimExpr>{batch, hidden}));
      if (n.wantsOutput(0))
        yield.scans.push_back(n.reshape(y, ArrayRef<DimExpr>{batch, hidden}));
      return yield;
    });
    States states{results[0], hasCell ? results[1] : Value()};
    Value y = n.wantsOutput(0) ? results.back() : Value();
    if (y && reverse) {
      if (lengths) {
        y = reversed(y);
      } else {
        Value positions = n.sub(n.shapeTensor({length - 1}), n.iota(length, n.b.getI64Type()));
        y = n.gather(y, positions, 0);
      }
    }
    return {y, states};
  }

  Value reversed(Value sequence) {
    return n.create("flame.reverse_sequence", {sequence, n.cast(lengths, n.b.getI64Type())},
                    {n.attr("batch_axis", int64_t(1)), n.attr("time_axis", int64_t(0))})
        ->getResult(0);
  }

  unsigned gates, directions;
  bool firstReverse, batchFirst;
  std::optional<double> clip;
  std::vector<Activation> functions;
  Type elementType;
  Value x, lengths;
  DimExpr length, batch;
};

//===--- the operators ---===//

Value plus(OnnxNode &n, Value x, Value y) { return y ? n.add(x, y) : x; }

void importRnn(OnnxNode &n) {
  Recurrence r(n, 1, {"Tanh"});
  r.run(false, [&](const Direction &d, Value projected, const States &before) {
    Value sum = plus(n, n.add(projected, n.matmul(before.h, d.recurrent)), d.bias);
    return States{d.activations[0](n, r.clipped(sum)), {}};
  });
}

/// Gates in the order update (z), reset (r), candidate (h).
void importGru(OnnxNode &n) {
  Recurrence r(n, 3, {"Sigmoid", "Tanh"});
  bool linearBeforeReset = n.intAttr("linear_before_reset", 0) != 0;
  r.run(false, [&](const Direction &d, Value projected, const States &before) {
    const Activation &f = d.activations[0], &g = d.activations[1];
    auto biasOf = [&](Value bias, unsigned gate, unsigned count) { return bias ? r.gate(bias, gate, count) : Value(); };
    Value weights = linearBeforeReset ? d.recurrent : r.gate(d.recurrent, 0, 2);
    Value recurrent = n.matmul(before.h, weights);
    Value zr = plus(n, n.add(r.gate(projected, 0, 2), linearBeforeReset ? r.gate(recurrent, 0, 2) : recurrent),
                    biasOf(d.bias, 0, 2));
    zr = f(n, r.clipped(zr));
    Value z = r.gate(zr, 0), reset = r.gate(zr, 1), candidate;
    if (linearBeforeReset) {
      Value inner = plus(n, r.gate(recurrent, 2), biasOf(d.recurrentBias, 2, 1));
      candidate = plus(n, n.add(r.gate(projected, 2), n.mul(reset, inner)), biasOf(d.inputBias, 2, 1));
    } else {
      Value inner = n.matmul(n.mul(reset, before.h), r.gate(d.recurrent, 2));
      candidate = plus(n, n.add(r.gate(projected, 2), inner), biasOf(d.bias, 2, 1));
    }
    candidate = g(n, r.clipped(candidate));
    // (1 - z) * candidate + z * h
    return States{n.add(candidate, n.mul(z, n.sub(before.h, candidate))), {}};
  });
}

/// Gates in the order input (i), output (o), forget (f), cell (c); peepholes i, o, f.
void importLstm(OnnxNode &n) {
  Recurrence r(n, 4, {"Sigmoid", "Tanh", "Tanh"});
  bool coupled = n.intAttr("input_forget", 0) != 0;
  r.run(true, [&](const Direction &d, Value projected, const States &before) {
    const Activation &f = d.activations[0], &g = d.activations[1], &h = d.activations[2];
    Value sum = plus(n, n.add(projected, n.matmul(before.h, d.recurrent)), d.bias);
    auto peeped = [&](unsigned gate, unsigned peephole, Value cell) {
      Value value = r.gate(sum, gate);
      return d.peepholes ? n.add(value, n.mul(r.gate(d.peepholes, peephole), cell)) : value;
    };
    Value i = f(n, r.clipped(peeped(0, 0, before.c)));
    Value forget = coupled ? n.sub(n.scalarLike(i, 1), i) : f(n, r.clipped(peeped(2, 2, before.c)));
    Value candidate = g(n, r.clipped(r.gate(sum, 3)));
    Value cell = n.add(n.mul(forget, before.c), n.mul(i, candidate));
    Value o = f(n, r.clipped(peeped(1, 1, cell)));
    return States{n.mul(o, h(n, cell)), cell};
  });
}

} // namespace

void flame::registerRecurrentOnnx(OnnxRegistry &registry) {
  registry.add("RNN", importRnn, 7, "", "float");
  registry.add("GRU", importGru, 7, "", "float");
  registry.add("LSTM", importLstm, 7, "", "float");
}
