/** A line of CSV (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe in front. */
export const csvLine = (cells: readonly (string | number | null)[]): string =>
  `${cells.map(cell).join()}\r\n`;

/** Also tab and line ends: some programs drop them and then see the formula behind. */
const formula = /^[=+\-@\t\r\n]/;

function cell(value: string | number | null): string {
  const text = typeof value === "string" && formula.test(value) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
