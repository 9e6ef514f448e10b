// What the page says: every sentence about errors, reasons and numbers. No markup here.

/** Why a photograph could not be graded, and what helps. */
export const REASONS = {
  disc_not_found: [
    "No optic disc was found.",
    "Check that the picture shows the back of the eye with the disc in view, upright and not covered.",
  ],
  too_blurred: ["The photograph is too blurred around the disc.", "Focus on the disc and take it again."],
  outside_training_distribution: [
    "The photograph is unlike those that the network has learned from.",
    "It may show something else, or be strongly processed. Use the camera’s own colour photograph.",
  ],
  cup_uncertain: [
    "The edge of the cup cannot be told with confidence.",
    "Outline it yourself, or take another photograph with better light.",
  ],
};

/** Code of a problem: what happened, what to do. */
const PROBLEMS = {
  empty_photograph: ["The file is empty.", "Choose it again, or export it anew from the camera."],
  too_many_bytes: ["The file is too large.", "Save it as a JPEG or with fewer pixels, then add it again."],
  too_many_pixels: ["The photograph has too many pixels.", "Save it at a smaller size, then add it again."],
  too_few_pixels: ["The photograph is too small to outline a disc.", "Use the original instead of a thumbnail."],
  unsupported_format: [
    "This file is not a photograph that can be read.",
    "Use JPEG, PNG, TIFF, BMP or WebP. A phone’s HEIC must be saved as JPEG first.",
  ],
  unreadable_photograph: ["The file is damaged or incomplete.", "Copy it from the camera again, then add it again."],
  no_version_live: ["The service has no trained version ready.", "Tell whoever runs it, then try again."],
  convention_not_found: ["The trained version cannot draw these experts’ cups.", "They are drawn as it draws unasked."],
  version_not_found: ["The trained version is not there any more.", "Reload this page, then try again."],
  upload_too_slow: ["The photograph took too long to arrive.", "Check the connection, then try again."],
  key_missing: ["This service asks for a key.", "Ask whoever runs it for one."],
  key_invalid: ["This key is not known here.", "Check that it is whole, or ask whoever runs the service."],
  key_expired: ["This key has expired.", "Ask whoever runs the service for a new one."],
  scope_missing: ["This key does not allow that.", "Ask whoever runs the service."],
  rate_exceeded: ["This key has been used too often.", "Wait a moment, then try again."],
  too_many_at_once: ["Too many photographs are under way with this key.", "Wait a moment, then try again."],
  photograph_too_costly: ["This file takes too long to open.", "Save it as a plain JPEG, then add it again."],
  overloaded: ["The service is busy.", "Wait a moment, then try again."],
  invalid_mask: ["This outline cannot be measured.", "Undo the last step: an outline must not cross itself or leave the photograph."],
  disc_not_found: ["Without a disc there is no ratio.", "Draw the outline of the disc."],
  internal_error: ["The service made a mistake.", "Try again; if it happens again, tell whoever runs it."],
  unreachable: ["The service cannot be reached.", "Check that it runs and that you are connected, then try again."],
};
const AGAIN_HELPS = [
  ...["key_missing", "key_invalid", "key_expired", "rate_exceeded", "too_many_at_once"],
  ...["no_version_live", "upload_too_slow", "overloaded", "internal_error", "unreachable"],
];

/** { sentence, advice, again }: what a problem of the API means for the person in front of the screen. */
export function explain(code, status, detail) {
  const [sentence, advice] = PROBLEMS[code] ?? [`The service refused: ${detail || code}.`, "Try another file."];
  return { sentence, advice, again: AGAIN_HELPS.includes(code) || status >= 500 };
}

export const EYES = { right: "Right eye", left: "Left eye", unknown: "Eye not told" };

export const SECTORS = {
  superior: "Superior",
  inferior: "Inferior",
  left: "Picture left",
  right: "Picture right",
  temporal: "Temporal",
  superotemporal: "Superotemporal",
  superonasal: "Superonasal",
  nasal: "Nasal",
  inferonasal: "Inferonasal",
  inferotemporal: "Inferotemporal",
};

/**
 * 97.5th percentile of the vertical ratio in healthy eyes, from the smallest discs to the largest, by planimetry on
 * stereo photographs (6678 eyes).
 */
export const VERTICAL = {
  low: 0.59,
  high: 0.74,
  source: "Crowston et al., Br J Ophthalmol 2004; 88: 766–770",
  address: "https://doi.org/10.1136/bjo.2003.028548",
};

/** 97.5th and 99.5th percentile of the difference between both eyes, adults without glaucoma, from photographs. */
export const ASYMMETRY = {
  low: 0.19,
  high: 0.26,
  source: "Cup-to-Disc Ratio Asymmetry in U.S. Adults (NHANES 2005–2008), Ophthalmology 2017",
};

/** Where a vertical ratio lies, and whether its interval reaches further: { name, sentence }. */
export function zone(ratio, spread = null) {
  const further = spread && spread.high >= VERTICAL.low ? " The interval reaches beyond it." : "";
  if (ratio < VERTICAL.low) return { name: "normal", sentence: `Within the range of healthy eyes.${further}` };
  if (ratio <= VERTICAL.high)
    return { name: "between", sentence: "High for a small disc, within the range for a large one." };
  return { name: "suspect", sentence: "Above 97.5 % of healthy eyes, whatever the size of the disc: suspect." };
}

export function asymmetryZone(difference) {
  if (difference < ASYMMETRY.low)
    return { name: "normal", sentence: "A difference as between most healthy pairs of eyes." };
  if (difference <= ASYMMETRY.high)
    return { name: "between", sentence: "Larger than in 97.5 % of people without glaucoma." };
  return { name: "suspect", sentence: "Larger than in 99.5 % of people without glaucoma: suspect." };
}

export const UNKNOWN = "–";

export function ratio(value) {
  return value === null || value === undefined ? UNKNOWN : value.toFixed(2);
}

export function interval(value) {
  return value ? `${ratio(value.low)} to ${ratio(value.high)}` : UNKNOWN;
}

export function percent(value) {
  return value === null || value === undefined ? UNKNOWN : `${Math.round(value * 100)} %`;
}

/** Right or left, where a file's name tells it: words on their own such as OD, OS, right, L. */
export function eyeInName(name) {
  const words = name.replace(/\.[^.]*$/, "").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase().split(/[^a-z0-9]+/);
  const right = words.some((word) => ["od", "right", "r", "re"].includes(word));
  const left = words.some((word) => ["os", "left", "l", "le"].includes(word));
  return right === left ? "unknown" : right ? "right" : "left";
}

/** What two photographs of one person have in common: the name without the eye. */
export function nameWithoutEye(name) {
  return name
    .replace(/\.[^.]*$/, "")
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => !["od", "os", "right", "left", "r", "l", "re", "le"].includes(word))
    .join(" ");
}
