// Whether two networks find the same: the rule of src/evaluation/agreement.py.
import { overlap } from "./detector.js";

// Pair boxes of the same class with an IoU of at least `leastIou`: best IoU first, each box at most once. Return the
// number of boxes of both lists that have a partner, the number of all, and, per list, the set of the boxes without one.
export function compare(first, second, leastIou) {
  const alone = [new Set(first), new Set(second)];
  for (const [one, other] of candidates(first, second, leastIou)) {
    if (!alone[0].has(one) || !alone[1].has(other)) continue;
    alone[0].delete(one);
    alone[1].delete(other);
  }
  const all = first.length + second.length;
  return { matched: all - alone[0].size - alone[1].size, all, alone };
}

function candidates(first, second, leastIou) {
  const pairs = first.flatMap((one) => second.map((other) => [one, other, overlap(one.xyxy, other.xyxy)]));
  return pairs
    .filter(([one, other, iou]) => one.label === other.label && iou >= leastIou)
    .sort(([, , a], [, , b]) => b - a);
}
