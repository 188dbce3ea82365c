// Keys as the server makes them: the 128-bit xxh3 of a query's canonical form (app/store/key.py).
//
// xxh3 is written by its specification, which Yann Collet keeps beside xxHash:
// https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md. A key of 200 bytes takes some
// hundredths of a millisecond.

const P32 = [0n, 0x9E3779B1n, 0x85EBCA77n, 0xC2B2AE3Dn];
const P64 = [0n, 0x9E3779B185EBCA87n, 0xC2B2AE3D27D4EB4Fn, 0x165667B19E3779F9n, 0x85EBCA77C2B2AE63n, 0x27D4EB2F165667C5n];
const MX1 = 0x165667919E3779F9n;
const MX2 = 0x9FB21C651E98DF25n;
const SECRET = "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e";

const low64 = (n) => BigInt.asUintN(64, n);
const low32 = (n) => BigInt.asUintN(32, n);
const mixed = (n, by) => n ^ (n >> by);
const swapped = (n, bytes) => BigInt(`0x${n.toString(16).padStart(2 * bytes, "0").match(/../g).reverse().join("")}`);
const folded = (a, b) => { const product = a * b; return low64(product) ^ (product >> 64n); };
const avalanche = (n) => mixed(low64(mixed(low64(n), 37n) * MX1), 32n);
const avalanche64 = (n) => mixed(low64(mixed(low64(mixed(low64(n), 33n) * P64[2]), 29n) * P64[3]), 32n);

/** Reads 32 and 64 bits, least byte first. @param {Uint8Array} bytes */
function reader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { r32: (at) => BigInt(view.getUint32(at, true)), r64: (at) => view.getBigUint64(at, true) };
}

const PLAIN = Uint8Array.from(SECRET.match(/../g), (pair) => parseInt(pair, 16));
const { r32: s32, r64: s64 } = reader(PLAIN);

/** The 128-bit xxh3 as an integer. @param {Uint8Array} bytes @param {bigint} seed */
export function xxh3(bytes, seed = 0n) {
  const { length } = bytes;
  const [low, high] = (length <= 16 ? short : length <= 240 ? middle : long)(bytes, BigInt(length), seed);
  return (high << 64n) | low;
}

function short(bytes, size, seed) {
  const { r32, r64 } = reader(bytes);
  const { length } = bytes;
  if (length > 8) {
    const last = r64(length - 8);
    const first = (r64(0) ^ last ^ low64((s64(32) ^ s64(40)) - seed)) * P64[1];
    const flipped = last ^ low64((s64(48) ^ s64(56)) + seed);
    const high = low64((first >> 64n) + flipped + low32(flipped) * (P32[2] - 1n));
    const low = low64(low64(first) + ((size - 1n) << 54n)) ^ swapped(high, 8);
    const product = low * P64[2];
    return [avalanche(product), avalanche((product >> 64n) + high * P64[2])];
  }
  if (length > 3) {
    const turned = seed ^ (swapped(low32(seed), 4) << 32n);
    const keyed = (r32(0) + (r32(length - 4) << 32n)) ^ low64((s64(16) ^ s64(24)) + turned);
    const product = keyed * (P64[1] + (size << 2n));
    const high = low64((product >> 64n) + (low64(product) << 1n));
    const low = low64(product) ^ (high >> 3n);
    return [mixed(low64(mixed(low, 35n) * MX2), 28n), avalanche(high)];
  }
  if (length > 0) {
    const [first, mid, last] = [bytes[0], bytes[length >> 1], bytes[length - 1]].map(BigInt);
    const low = (first << 16n) | (mid << 24n) | last | (size << 8n);
    const other = swapped(low, 4);
    const high = low32(other << 13n) | (other >> 19n);
    return [avalanche64(low ^ low64((s32(0) ^ s32(4)) + seed)), avalanche64(high ^ low64((s32(8) ^ s32(12)) - seed))];
  }
  return [avalanche64(seed ^ s64(64) ^ s64(72)), avalanche64(seed ^ s64(80) ^ s64(88))];
}

function middle(bytes, size, seed) {
  const { r64 } = reader(bytes);
  const { length } = bytes;
  let [low, high] = [low64(size * P64[1]), 0n];
  const mix16 = (at, secret, by) => folded(r64(at) ^ low64(s64(secret) + by), r64(at + 8) ^ low64(s64(secret + 8) - by));
  const mix32 = (one, two, secret, by = seed) => {
    low = low64(low + mix16(one, secret, by)) ^ low64(r64(two) + r64(two + 8));
    high = low64(high + mix16(two, secret + 16, by)) ^ low64(r64(one) + r64(one + 8));
  };
  if (length <= 128) {
    for (let i = (length - 1) >> 5; i >= 0; i -= 1) mix32(16 * i, length - 16 * (i + 1), 32 * i);
  } else {
    for (let at = 0; at < 128; at += 32) mix32(at, at + 16, at);
    [low, high] = [avalanche(low), avalanche(high)];
    for (let at = 128; at + 32 <= length; at += 32) mix32(at, at + 16, at - 125);
    mix32(length - 16, length - 32, 103, -seed);
  }
  const rest = low * P64[1] + high * P64[4] + (size - seed) * P64[2];
  return [avalanche(low + high), low64(-avalanche(rest))];
}

function long(bytes, size, seed) {
  const { r64 } = reader(bytes);
  const { length } = bytes;
  const seeded = new Uint8Array(192);
  const view = new DataView(seeded.buffer);
  for (let at = 0; at < 192; at += 8) view.setBigUint64(at, low64(s64(at) + (at % 16 ? -seed : seed)), true);
  const { r64: secret } = reader(seeded);
  const lanes = [P32[3], P64[1], P64[2], P64[3], P64[4], P32[2], P64[5], P32[1]];
  const stripe = (at, from) => {
    for (let i = 0; i < 8; i += 1) {
      const value = r64(at + 8 * i);
      const keyed = value ^ secret(from + 8 * i);
      lanes[i ^ 1] = low64(lanes[i ^ 1] + value);
      lanes[i] = low64(lanes[i] + low32(keyed) * (keyed >> 32n));
    }
  };
  for (let at = 0, n = 0; at < length - 64; at += 64, n += 1) {
    stripe(at, 8 * (n % 16));
    if (n % 16 === 15) lanes.forEach((lane, i) => { lanes[i] = low64((mixed(lane, 47n) ^ secret(128 + 8 * i)) * P32[1]); });
  }
  stripe(length - 64, 121);
  const merged = (start, from) => {
    let sum = start;
    for (let i = 0; i < 4; i += 1) sum += folded(lanes[2 * i] ^ secret(from + 16 * i), lanes[2 * i + 1] ^ secret(from + 16 * i + 8));
    return avalanche(sum);
  };
  return [merged(size * P64[1], 11), merged(low64(~(size * P64[2])), 117)];
}

// A canonical form is kept as a text with one character for each byte: such texts sort as bytes do.
const utf8 = new TextEncoder();
const bytesOf = (text) => Array.from(utf8.encode(text.normalize("NFC")), (byte) => String.fromCharCode(byte)).join("");
const netstring = (text) => {
  const bytes = bytesOf(text);
  return `${bytes.length}:${bytes},`;
};
const head = (kind, deck) => netstring("tsukurioki-1") + netstring(kind) + netstring(deck);

/** The numbers of a canonical form's bytes. @param {string} canonical */
export const raw = (canonical) => Uint8Array.from(canonical, (byte) => byte.charCodeAt(0));

const hex = (canonical) => xxh3(raw(canonical)).toString(16).padStart(32, "0");

/**
 * A play, made ready: its key, the key of its cards alone, and its picks in canonical order.
 * @param {string} deck
 * @param {[string, string][]} picks  the ids of a card and its phrase
 */
export function query(deck, picks, kind = "hand") {
  const sorted = picks
    .map((ids) => ids.map((id) => id.normalize("NFC")))
    .map(([card, phrase]) => ({ card, phrase, bytes: netstring(card) + netstring(phrase) }))
    .sort((a, b) => (a.bytes < b.bytes ? -1 : Number(a.bytes > b.bytes)));
  const canonical = head(kind, deck) + sorted.map((pick) => pick.bytes).join("");
  const cards = head("cards", deck) + sorted.map((pick) => netstring(pick.card)).join("");
  return { deck, picks: sorted.map(({ card, phrase }) => [card, phrase]), canonical, key: hex(canonical), handKey: hex(cards) };
}
