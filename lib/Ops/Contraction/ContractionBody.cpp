//===- ContractionBody.cpp - an element of a matrix product -----------------------------------------------------------===//
//
// The plain definition, for products that no generator of the anchor takes: integers, vectors, odd fusions.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Body/ScaledProduct.h"
#include "flame/Ops/Contraction.h"

using namespace mlir;
using namespace flame;
using Values = ElementBuilder::Values;

static Value matmulElement(MatMulOp op, ElementBuilder &b, ValueRange index) {
  Type left = getElementTypeOrSelf(op.getX().getType()), right = getElementTypeOrSelf(op.getY().getType());
  Type type = getElementTypeOrSelf(op.getResult().getType());
  SmallVector<DimExpr> xDims(b.shapes().dims(op.getX())), yDims(b.shapes().dims(op.getY()));
  SmallVector<DimExpr> dims(b.shapes().dims(op.getResult()));
  bool row = xDims.size() == 1, column = yDims.size() == 1;
  size_t batch = dims.size() - !row - !column;
  bool packed = bool(op.getPackedColumns());

  // Index of an operand: its batch dims follow the result's, right-aligned, where they are not broadcast.
  auto place = [&](ArrayRef<DimExpr> own, size_t matrix) {
    Values at;
    size_t ownBatch = own.size() - matrix, shift = batch - ownBatch;
    for (size_t d = 0; d < ownBatch; ++d) {
      if (own[d].isConstant(1))
        at.push_back(b.index(0));
      else if (own[d] == dims[d + shift] || own[d].constant())
        at.push_back(index[d + shift]);
      else
        at.push_back(b.select(b.cmpi(arith::CmpIPredicate::eq, b.expr(own[d]), b.index(1)), b.index(0),
                              index[d + shift]));
    }
    return at;
  };
  Values xAt = place(xDims, row ? 1 : 2), yAt = place(yDims, packed ? 3 : column ? 1 : 2);
  Value i = row ? Value() : index[batch], j = column ? Value() : index[dims.size() - 1];
  ScalarBuilder s = b.scalars(type);
  DimExpr inner = op.getTransposeX() ? xDims[xDims.size() - 2] : xDims.back();
  return b.loop(b.index(0), b.expr(inner), s.number(type, 0), [&](Value k, ValueRange carried) {
    Values xFull = xAt, yFull = yAt;
    if (!row)
      xFull.push_back(op.getTransposeX() ? k : i);
    xFull.push_back(op.getTransposeX() ? i : k);
    if (packed) {
      yFull.append({b.divi(j, b.expr(yDims.back())), k, b.remi(j, b.expr(yDims.back()))});
    } else {
      yFull.push_back(op.getTransposeY() ? j : k);
      if (!column)
        yFull.push_back(op.getTransposeY() ? k : j);
    }
    Value x = s.cast(b.element(op.getX(), xFull), left, type), y = s.cast(b.element(op.getY(), yFull), right, type);
    return Values{s.add(carried[0], s.mul(x, y))};
  })[0];
}

Value flame::scaledElement(ElementBuilder &b, ScaledMatMulOp op, bool isX, ValueRange index) {
  Value elements = isX ? op.getX() : op.getY(), scales = isX ? op.getXScale() : op.getYScale();
  ScalarBuilder s = b.scalars(b.b.getF32Type());
  Values at(index);
  at.back() = b.divi(at.back(), b.index(op.getDepth()));
  if (!isX)
    at[0] = b.divi(at[0], b.index(op.getColumns()));
  Value element = s.cast(b.element(elements, index), getElementTypeOrSelf(elements.getType()), b.b.getF32Type());
  return s.mul(element, b.element(scales, at));
}

static Value scaledMatmulElement(ScaledMatMulOp op, ElementBuilder &b, ValueRange index) {
  Type f32 = b.b.getF32Type();
  ScalarBuilder s = b.scalars(f32);
  Value sum = b.loop(b.index(0), b.expr(b.shapes().dims(op.getX()).back()), s.number(f32, 0), [&](Value k, ValueRange carried) {
    Values x(index), y{index.back(), k};
    x.back() = k;
    return Values{s.add(carried[0], s.mul(scaledElement(b, op, /*isX=*/true, x), scaledElement(b, op, /*isX=*/false, y)))};
  })[0];
  return s.cast(sum, f32, op.getType());
}

static Value packElement(PackPanelsOp op, ElementBuilder &b, ValueRange index) {
  Type type = getElementTypeOrSelf(op.getX().getType());
  size_t rank = index.size() - 1;
  Values at(index.take_front(rank - 2));
  Value row = index[rank - 1], column = b.addi(b.muli(index[rank - 2], b.index(op.getWidth())), index[rank]);
  Value columns = b.dim(op.getX(), op.getTranspose() ? rank - 2 : rank - 1);
  // Beyond the last column the last one is read and dropped: no branch in the loop.
  Value clamped = b.mini(column, b.subi(columns, b.index(1)));
  at.push_back(op.getTranspose() ? clamped : row);
  at.push_back(op.getTranspose() ? row : clamped);
  return b.select(b.cmpi(arith::CmpIPredicate::slt, column, columns), b.element(op.getX(), at),
                  b.scalars(type).number(type, 0));
}

void flame::registerContractionBodies(MLIRContext *context) {
  attachElement<PackPanelsOp, packElement>(context);
  attachElement<MatMulOp, matmulElement, /*Cheap=*/false>(context);
  attachElement<ScaledMatMulOp, scaledMatmulElement, /*Cheap=*/false>(context);
}
