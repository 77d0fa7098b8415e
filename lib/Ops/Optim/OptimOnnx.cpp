//===- OptimOnnx.cpp - optimiser steps of ai.onnx.preview.training ----------------------------------------------------===//
//
// Inputs: learning rate R, update count T, then the tensors, their gradients and their states, each kind in a row.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "llvm/ADT/Twine.h"

using namespace mlir;
using namespace flame;

/// The number of tensors to update; each comes with its gradient and `kinds − 2` states.
static unsigned tensorCount(OnnxNode &n, unsigned kinds) {
  if (n.numInputs() < 2 + kinds || (n.numInputs() - 2) % kinds != 0)
    n.fail("has " + Twine(n.numInputs()) + " inputs; R and T must be followed by " + Twine(kinds) +
           " inputs for every tensor");
  return (n.numInputs() - 2) / kinds;
}

/// gradient + norm_coefficient * x
static Value regularized(OnnxNode &n, Value x, Value gradient) {
  double coefficient = n.floatAttr("norm_coefficient", 0);
  return coefficient == 0 ? gradient : n.add(n.mul(n.scalarLike(x, coefficient), x), gradient);
}

static void adagrad(OnnxNode &n) {
  unsigned count = tensorCount(n, 3);
  for (unsigned i = 0; i < count; ++i) {
    Value x = n.input(2 + i), squares = n.input(2 + 2 * count + i);
    Type type = n.elementType(x);
    Value decay = n.mul(n.cast(n.input(1), type), n.scalar(type, n.floatAttr("decay_factor", 0)));
    Value rate = n.div(n.cast(n.input(0), type), n.add(n.scalar(type, 1), decay));
    Value gradient = regularized(n, x, n.input(2 + count + i));
    squares = n.add(squares, n.mul(gradient, gradient));
    Value adaptive = n.add(n.sqrt(squares), n.scalar(type, n.floatAttr("epsilon", 1e-6)));
    n.setOutput(i, n.sub(x, n.div(n.mul(rate, gradient), adaptive)));
    n.setOutput(count + i, squares);
  }
}

static void adam(OnnxNode &n) {
  unsigned count = tensorCount(n, 4);
  double alpha = n.floatAttr("alpha", 0.9), beta = n.floatAttr("beta", 0.999);
  for (unsigned i = 0; i < count; ++i) {
    Value x = n.input(2 + i), mean = n.input(2 + 2 * count + i), squares = n.input(2 + 3 * count + i);
    Type type = n.elementType(x);
    auto number = [&](double value) { return n.scalar(type, value); };
    Value rate = n.cast(n.input(0), type), step = n.cast(n.input(1), type), one = number(1);
    Value gradient = regularized(n, x, n.input(2 + count + i));
    mean = n.add(n.mul(number(alpha), mean), n.mul(number(1 - alpha), gradient));
    squares = n.add(n.mul(number(beta), squares), n.mul(number(1 - beta), n.mul(gradient, gradient)));
    Value root = n.add(n.sqrt(squares), number(n.floatAttr("epsilon", 1e-6)));
    Value unbiased = n.div(n.mul(rate, n.sqrt(n.sub(one, n.pow(number(beta), step)))),
                           n.sub(one, n.pow(number(alpha), step)));
    Value adjusted = n.where(n.greater(step, number(0)), unbiased, rate);
    Value next = n.sub(x, n.div(n.mul(adjusted, mean), root));
    n.setOutput(i, n.mul(number(1 - n.floatAttr("norm_coefficient_post", 0)), next));
    n.setOutput(count + i, mean);
    n.setOutput(2 * count + i, squares);
  }
}

static void momentum(OnnxNode &n) {
  unsigned count = tensorCount(n, 3);
  std::string mode = n.stringAttr("mode");
  if (mode != "standard" && mode != "nesterov")
    n.fail("attribute 'mode' is \"" + mode + "\"; it must be \"standard\" or \"nesterov\"");
  for (unsigned i = 0; i < count; ++i) {
    Value x = n.input(2 + i), velocity = n.input(2 + 2 * count + i);
    Type type = n.elementType(x);
    Value rate = n.cast(n.input(0), type), step = n.cast(n.input(1), type);
    Value alpha = n.scalar(type, n.floatAttr("alpha")), beta = n.scalar(type, n.floatAttr("beta"));
    Value gradient = regularized(n, x, n.input(2 + count + i));
    Value weight = n.where(n.greater(step, n.scalar(type, 0)), beta, n.scalar(type, 1));
    velocity = n.add(n.mul(alpha, velocity), n.mul(weight, gradient));
    Value direction = mode == "nesterov" ? n.add(gradient, n.mul(alpha, velocity)) : velocity;
    n.setOutput(i, n.sub(x, n.mul(rate, direction)));
    n.setOutput(count + i, velocity);
  }
}

void flame::registerOptimOnnx(OnnxRegistry &r) {
  const char *domain = "ai.onnx.preview.training";
  r.add("Adagrad", adagrad, 1, domain, "float32, float64");
  r.add("Adam", adam, 1, domain, "float32, float64");
  r.add("Momentum", momentum, 1, domain, "float32, float64");
}
