//===- AttentionBody.cpp - loops of attention recurrences -------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Ops/Attention.h"

using namespace mlir;
using namespace flame;
using Values = ElementBuilder::Values;

/// Columns of the state don't touch each other: batch x head x value width.
static DimExpr stateColumns(LinearAttentionOp op, ShapeContext &context) {
  return context.dim(op.getState(), 0) * context.dim(op.getState(), 1) * context.dim(op.getState(), 3);
}

/// An index into a gate whose heads and last dimension may be 1.
static Values gateIndex(ElementBuilder &b, Value gate, Value batch, Value head, Value token, Value row) {
  auto orZero = [&](unsigned d, Value i) {
    DimExpr size = b.shapes().dim(gate, d);
    if (size.constant())
      return size.isConstant(1) ? b.index(0) : i;
    return b.select(b.cmpi(arith::CmpIPredicate::eq, b.expr(size), b.index(1)), b.index(0), i);
  };
  return {batch, orZero(1, head), token, orZero(3, row)};
}

static void linearAttentionLoops(LinearAttentionOp op, LoopsBuilder &b, Value begin, Value end) {
  Type type = getElementTypeOrSelf(op.getQuery().getType());
  ScalarBuilder s = b.scalars(type);
  ShapeContext &shapes = b.shapes();
  Value decay = op.getGated() ? op.getGates().front() : Value(), beta = op.getDelta() ? op.getGates().back() : Value();
  Value rows = b.dim(op.getState(), 2), tokens = b.dim(op.getQuery(), 2), zero = b.index(0);
  Value group = b.expr(floorDiv(shapes.dim(op.getQuery(), 1), shapes.dim(op.getState(), 1)));
  SmallVector<DimExpr> lanes{shapes.dim(op.getState(), 0), shapes.dim(op.getState(), 1), shapes.dim(op.getState(), 3)};
  b.loop(begin, end, {}, [&](Value lane, ValueRange) {
    Values at = b.delinearize(lane, lanes);
    Value batch = at[0], head = at[1], column = at[2];
    auto state = [&](Value row) { return Values{batch, head, row, column}; };
    b.loop(zero, rows, {}, [&](Value row, ValueRange) {
      b.store(op.getNewState(), state(row), b.element(op.getState(), state(row)));
      return Values{};
    });
    b.loop(zero, tokens, {}, [&](Value token, ValueRange) {
      // The state decays, and what it answers to this key is read.
      Value answer = b.loop(zero, rows, s.number(type, 0), [&](Value row, ValueRange carried) {
        Value old = b.loadResult(op.getNewState(), state(row));
        if (decay) {
          old = s.mul(old, s.exp(b.element(decay, gateIndex(b, decay, batch, head, token, row))));
          b.store(op.getNewState(), state(row), old);
        }
        return Values{s.add(carried[0], s.mul(old, b.element(op.getKey(), Values{batch, head, token, row})))};
      })[0];
      Value value = b.element(op.getValue(), Values{batch, head, token, column});
      if (beta)
        value = s.mul(b.element(beta, gateIndex(b, beta, batch, head, token, zero)), s.sub(value, answer));
      b.loop(zero, rows, {}, [&](Value row, ValueRange) {
        Value key = b.element(op.getKey(), Values{batch, head, token, row});
        Value old = b.loadResult(op.getNewState(), state(row));
        b.store(op.getNewState(), state(row), s.add(old, s.mul(key, value)));
        return Values{};
      });
      b.loop(zero, group, {}, [&](Value member, ValueRange) {
        Value queryHead = b.addi(b.muli(head, group), member);
        Value sum = b.loop(zero, rows, s.number(type, 0), [&](Value row, ValueRange carried) {
          Value query = b.element(op.getQuery(), Values{batch, queryHead, token, row});
          return Values{s.add(carried[0], s.mul(query, b.loadResult(op.getNewState(), state(row))))};
        })[0];
        b.store(op.getOutput(), Values{batch, queryHead, token, column},
                s.mul(sum, s.number(type, op.getScale().convertToDouble())));
        return Values{};
      });
      return Values{};
    });
    return Values{};
  });
}

void flame::registerAttentionBodies(MLIRContext *context) {
  attachLoops<LinearAttentionOp, stateColumns, linearAttentionLoops>(context);
}
