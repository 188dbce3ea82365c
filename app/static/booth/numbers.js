// Numbers as a language writes them: 1,234.5 in English, 1 234,5 in French.

/**
 * @typedef {object} Numbers
 * @property {(value: number, digits?: number) => string} fixed  with so many digits after the point
 * @property {(value: number) => string} rounded  with one digit after the point where it is small and not whole
 * @property {(share: number) => string} percent  of a share from 0 to 1
 * @property {(value: number) => string} dollars
 */

/** @param {string} language @returns {Numbers} */
export function numbersOf(language) {
  const made = (value, digits, options = {}) =>
    value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits, ...options });
  return {
    fixed: (value, digits = 0) => made(value, digits),
    rounded: (value) => made(value, value >= 10 || Number.isInteger(value) ? 0 : 1),
    percent: (share) => made(share, share > 0 && share < 0.1 ? 1 : 0, { style: "percent" }),
    dollars: (value) => made(value, value && value < 1 ? 4 : 2, { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" }),
  };
}
