import { compareByteStrings, displayByteString } from "@soci-ts/core";
import type { TarEntry } from "@soci-ts/tar";
import { formatModTime, isModTime } from "../ztoc/mod-time.ts";
import { type IndexDifference, quoted } from "./difference.ts";

/** A field in the words of the format, and how to show it. Equal text means equal values. */
type Field = readonly [name: string, show: (entry: TarEntry) => string];

const FIELDS: readonly Field[] = [
  ["name", ({ name }) => quoted(name)],
  ["type", ({ type }) => type],
  ["offset", ({ dataOffset }) => String(dataOffset)],
  ["size", ({ sizeBytes }) => String(sizeBytes)],
  ["linkname", ({ linkname }) => quoted(linkname)],
  ["mode", ({ mode }) => `0${mode.toString(8)}`],
  ["uid", ({ uid }) => String(uid)],
  ["gid", ({ gid }) => String(gid)],
  ["uname", ({ uname }) => quoted(uname)],
  ["gname", ({ gname }) => quoted(gname)],
  ["mod_time", showTime],
  ["devmajor", ({ devmajor }) => String(devmajor)],
  ["devminor", ({ devminor }) => String(devminor)],
  // A ztoc does not store it: it is what its readers derive from the entries before.
  ["header offset", ({ headerOffset }) => String(headerOffset)],
];

/** The first field in which a ztoc's entry is not what the tar has; undefined if there is none. */
export function compareEntry(
  number: number,
  want: TarEntry,
  have: TarEntry,
): IndexDifference | undefined {
  const at = { number, name: displayByteString(want.name), offset: want.headerOffset };
  if (!isSame(want, have)) {
    for (const [field, show] of FIELDS) {
      const texts = { want: show(want), have: show(have) };
      if (texts.want !== texts.have) return { part: "entry", ...at, field, ...texts };
    }
    // Only the parts of long values that are not shown differ.
    return { part: "entry", ...at, field: "text", want: "the tar's", have: "another" };
  }
  const records = compareRecords(want, have);
  return records && { part: "entry", ...at, ...records };
}

/** Quick, for nearly all entries are. */
function isSame(a: TarEntry, b: TarEntry): boolean {
  return (
    a.name === b.name &&
    a.type === b.type &&
    a.dataOffset === b.dataOffset &&
    a.sizeBytes === b.sizeBytes &&
    a.linkname === b.linkname &&
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.uname === b.uname &&
    a.gname === b.gname &&
    a.mtimeSec === b.mtimeSec &&
    a.mtimeNsec === b.mtimeNsec &&
    a.devmajor === b.devmajor &&
    a.devminor === b.devminor &&
    a.headerOffset === b.headerOffset
  );
}

function compareRecords(
  want: TarEntry,
  have: TarEntry,
): Pick<IndexDifference, "field" | "want" | "have"> | undefined {
  if (want.paxRecords.size === 0 && have.paxRecords.size === 0) return undefined;
  const keys = new Set([...want.paxRecords.keys(), ...have.paxRecords.keys()]);
  for (const key of [...keys].sort(compareByteStrings)) {
    const [wanted, had] = [want.paxRecords.get(key), have.paxRecords.get(key)];
    if (wanted === had) continue;
    return {
      field: `PAX record ${quoted(key)}`,
      want: wanted === undefined ? "none" : quoted(wanted),
      have: had === undefined ? "none" : quoted(had),
    };
  }
  return undefined;
}

function showTime({ mtimeSec, mtimeNsec }: TarEntry): string {
  if (!isModTime(mtimeSec)) return `${mtimeSec} s, ${mtimeNsec} ns`;
  return formatModTime({ seconds: mtimeSec, nanoseconds: mtimeNsec });
}
