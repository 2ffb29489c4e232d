// Text to token ids, as Python's tokenizers gives them.
//
// The library does the work. Where it differs from the Rust original (char by char lower case, CJK
// beyond 16 bits, words of any script, cutting) its part is replaced below. What is left: marks and
// signs that Unicode took in after 2015 (some 600, of rare scripts), which the original does not know.

import { Tokenizer } from "./vendor/tokenizers/tokenizers.js";

const CJK = [
  [0x4e00, 0x9fff], [0x3400, 0x4dbf], [0x20000, 0x2a6df], [0x2a700, 0x2b73f], [0x2b740, 0x2b81f],
  [0x2b820, 0x2ceaf], [0xf900, 0xfaff], [0x2f800, 0x2fa1f],
];
const WHITE = /\p{White_Space}/u;
const CONTROL = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u;
const ACCENTS = /\p{Mn}/gu;
const BERT_PIECES = /[^\p{White_Space}\p{P}$+<=>^`|~]+|[\p{P}$+<=>^`|~]/gu;
const WORDS =
  /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\p{White_Space}]+/gu;

/** Lower case without regard to neighbours: a final sigma is a sigma. */
function lower(text) {
  return Array.from(text, (char) => char.toLowerCase()).join("");
}

function isCjk(char) {
  const code = char.codePointAt(0);
  return CJK.some(([first, last]) => code >= first && code <= last);
}

function cleaned(text) {
  let result = "";
  for (const char of text) {
    if (char === "\t" || char === "\n" || char === "\r") result += " ";
    else if (char === "\0" || char === "\ufffd" || CONTROL.test(char)) continue;
    else result += WHITE.test(char) ? " " : char;
  }
  return result;
}

function bertNormalizer({ clean_text, handle_chinese_chars, strip_accents, lowercase }) {
  return (text) => {
    if (clean_text) text = cleaned(text);
    if (handle_chinese_chars) {
      text = Array.from(text, (char) => (isCjk(char) ? ` ${char} ` : char)).join("");
    }
    if (strip_accents ?? lowercase) text = text.normalize("NFD").replace(ACCENTS, "");
    return lowercase ? lower(text) : text;
  };
}

/** Put our own functions into the library's parts, wherever they stand in a sequence. */
function correct(part, config) {
  if (!part || !config) return;
  if (config.type === "BertNormalizer") part.normalize = bertNormalizer(config);
  else if (config.type === "Lowercase") part.normalize = lower;
  else if (config.type === "BertPreTokenizer") {
    part.pre_tokenize_text = (text) => text.match(BERT_PIECES) ?? [];
  } else if (config.type === "Whitespace") {
    part.pre_tokenize_text = (text) => text.match(WORDS) ?? [];
  } else if (config.type === "Sequence") {
    const configs = config.normalizers ?? config.pretokenizers ?? [];
    const parts = part.normalizers ?? part.tokenizers ?? [];
    configs.forEach((inner, i) => correct(parts[i], inner));
  }
}

/** How many tokens of each of two texts stay of `room`: the longer one is cut first. */
export function shares(first, second, room) {
  const short = Math.min(first, second);
  const long = Math.max(first, second);
  if (short + long <= room) return [first, second];
  let small = short;
  let large = Math.max(short, room - short);
  if (short > room || small + large > room) {
    small = Math.floor(room / 2);
    large = room - small;
  }
  return first > second ? [large, small] : [small, large];
}

/**
 * A function of one text, or of two, that gives `{ ids, types, cut }`: token ids and types with the
 * special tokens, at most `maxLength`; `cut` says whether there were more.
 */
export function makeTokenizer(json, config, maxLength) {
  const inner = new Tokenizer(json, config);
  correct(inner.normalizer, json.normalizer);
  correct(inner.pre_tokenizer, json.pre_tokenizer);
  const finish = (first, second) =>
    inner.post_processor
      ? inner.post_processor(first, second, true)
      : { tokens: [...first, ...(second ?? [])] };
  const specials = [finish([], null).tokens.length, finish([], []).tokens.length];
  const id = (token) =>
    inner.added_tokens_map.get(token)?.id ??
    inner.model.tokens_to_ids.get(token) ??
    inner.model.unk_token_id;
  return (text, pair = null) => {
    let first = inner.encode_text(text);
    let second = pair === null ? null : inner.encode_text(pair);
    const room = Math.max(0, maxLength - specials[second ? 1 : 0]);
    const before = first.length + (second?.length ?? 0);
    if (second) {
      const [one, other] = shares(first.length, second.length, room);
      [first, second] = [first.slice(0, one), second.slice(0, other)];
    } else {
      first = first.slice(0, room);
    }
    const { tokens, token_type_ids: types } = finish(first, second);
    return {
      ids: tokens.map(id),
      types: types ?? tokens.map(() => 0),
      cut: before > first.length + (second?.length ?? 0),
    };
  };
}
