import type { Transaction } from "./rest";
import { w } from "./words";

/** What each line, the newest first, left the account with, if it has `balanceMinor` now. */
export function balancesAfter(balanceMinor: number, amountsMinor: readonly number[]): number[] {
  let after = balanceMinor;
  return amountsMinor.map((amount) => {
    const left = after;
    after -= amount;
    return left;
  });
}

/** What a line of the statement was for, in the spoken language. */
export function lineText(line: Transaction): string {
  const { lines } = w.wallet;
  const title = line.order_title ?? "";
  const number = line.order_number ?? "";
  switch (line.kind) {
    case "capture":
      if (line.account === "earnings") return lines.earned(title, number);
      return line.session_id ? lines.session(title, number) : lines.paid(title, number);
    case "reverse":
      return lines.givenBack(title, number);
    case "topup":
    case "payout":
    case "payout_returned":
    case "adjust":
      return lines[line.kind]();
    default:
      return line.text;
  }
}
