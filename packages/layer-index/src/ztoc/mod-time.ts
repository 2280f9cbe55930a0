/** What a ztoc's `mod_time` can say: the years 0 to 9999, UTC. */
const FIRST_SECOND = -62_167_219_200;
const LAST_SECOND = 253_402_300_799;
const NANOSECOND_DIGITS = 9;

/** An instant; nanoseconds (0–999,999,999) count upwards, also before 1970. */
export interface ModTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** True if a ztoc can say the time. */
export function isModTime(seconds: number): boolean {
  return seconds >= FIRST_SECOND && seconds <= LAST_SECOND;
}

/** The date and time of a second, which many files have in common. */
let lastText = { seconds: 0, text: "1970-01-01T00:00:00" };

/** The time as Go writes it: RFC 3339 in UTC, with as much of a fraction as is not zero; see {@link isModTime}. */
export function formatModTime({ seconds, nanoseconds }: ModTime): string {
  if (lastText.seconds !== seconds) {
    const iso = new Date(seconds * 1000).toISOString();
    lastText = { seconds, text: iso.slice(0, "YYYY-MM-DDTHH:MM:SS".length) };
  }
  const { text } = lastText;
  if (nanoseconds === 0) return `${text}Z`;
  const fraction = String(nanoseconds).padStart(NANOSECOND_DIGITS, "0").replace(/0+$/, "");
  return `${text}.${fraction}Z`;
}

const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,32}))?(?:Z|([+-])(\d\d):(\d\d))$/;

/** The instant that RFC 3339 text in any zone names, or undefined if it is none: builders write their own zone. */
export function parseModTime(text: string): ModTime | undefined {
  const match = RFC3339.exec(text);
  if (match === null) return undefined;
  const [, local, fraction = "", sign, hours = "0", minutes = "0"] = match;
  const milliseconds = Date.parse(`${local}Z`);
  if (Number.isNaN(milliseconds)) return undefined;
  const zoneSeconds = (Number(hours) * 60 + Number(minutes)) * 60;
  const eastSeconds = sign === "-" ? -zoneSeconds : zoneSeconds;
  const digits = fraction.slice(0, NANOSECOND_DIGITS).padEnd(NANOSECOND_DIGITS, "0");
  return { seconds: milliseconds / 1000 - eastSeconds, nanoseconds: Number(digits) };
}
