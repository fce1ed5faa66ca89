// Figures that change with every frame, over the last ones.

export const PASSES = 15; // times that are kept: enough that a disturbed pass does not move the median

export class Rolling {
  #values = [];

  add(value) {
    this.#values.push(value);
    if (this.#values.length > PASSES) this.#values.shift();
  }

  get median() {
    return this.#values.toSorted((a, b) => a - b)[Math.floor(this.#values.length / 2)];
  }

  // Per second, if the values are ms of the page's clock; null before the second.
  get rate() {
    const elapsed = this.#values.at(-1) - this.#values[0];
    return elapsed > 0 ? (1000 * (this.#values.length - 1)) / elapsed : null;
  }
}
