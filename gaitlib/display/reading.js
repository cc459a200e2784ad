// Files of poses that are dropped on a page, read as gaitlib/poses reads them where one person is in the image.

const LARGEST_COORDINATE = 1e6, LONGEST_JUMP = 50; // as in poses/formats/files.py
const LARGEST_SHARE = 4, ASPECT = 16 / 9; // as in poses/formats/mediapipe.py
const HIP_APART = 0.05; // as in poses/reading.py

/**
 * The walk in files: { frames, xy: coordinates [frames, 15, 2] in pixels or heights of the image, NaN where a joint is missing }.
 *
 * files: [{ name, text }]: one CSV table as `gaitlib formats` describes it; one JSON file with the landmarks of MediaPipe or
 * keypoint results as COCO has them; or the files of OpenPose, one a frame. layouts: what layouts() of embedder.py gives.
 * Throws Error with one sentence where they hold no walk, several walks, or several people.
 */
export function readWalk(files, layouts) {
  const [{ name, text }] = files;
  const refuse = (why) => { throw new Error(`${name} ${why}.`); };
  const isTable = /\.csv$/i.test(name);
  const content = isTable ? null : readJSON(text, refuse), isFrame = Array.isArray(content?.people);
  if (files.length > 1 && !isFrame) refuse("is one of several files; choose one, or all frames of OpenPose");
  const poses = isTable ? fromTable(text, layouts, refuse)
    : isFrame ? fromPeople(openPose(files, refuse), layouts, refuse)
    : isCOCO(content) ? fromPeople(keypointResults(content, refuse), layouts, refuse)
    : fromLandmarks(content, layouts, refuse);
  return checked(inTime(poses), layouts, refuse);
}

/** What JSON holds; NaN and Infinity, which Python writes and JSON has not, become null. */
function readJSON(text, refuse) {
  for (const attempt of [text.trim(), text.trim().replace(/NaN|-?Infinity/g, "null")]) {
    try {
      return JSON.parse(attempt);
    } catch { /* said below */ }
  }
  return refuse("is neither a table (.csv) nor JSON, or it is damaged");
}

/** The rows of our own table: [{ frame, joints: 30 numbers, or null where no joint is seen }]. */
function fromTable(text, { labels, positions }, refuse) {
  const lines = text.split("\n").map((line) => line.replaceAll('"', "").trim()).filter(Boolean);
  const [names = [], ...rows] = lines.map((line) => line.split(",").map((cell) => cell.trim()));
  const missing = ["frame", ...positions].find((name) => !names.includes(name));
  if (missing) refuse(`lacks the column ${missing}`);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice) refuse(`has the column ${twice} twice`);
  const cut = rows.find((row) => row.length !== names.length);
  if (cut) refuse(`has a row of ${cut.length} fields, not ${names.length}`);
  const known = labels.filter((name) => names.includes(name)).map((name) => names.indexOf(name));
  const walks = new Set(rows.map((row) => known.map((c) => row[c]).join()));
  if (walks.size > 1) refuse(`holds ${walks.size} walks; choose a table of one`);
  const number = (cell) => {
    if (!cell || /^nan$/i.test(cell)) return NaN;
    return Number.isFinite(Number(cell)) ? Number(cell) : refuse(`holds ${JSON.stringify(cell.slice(0, 40))}, which is not a number`);
  };
  const columns = positions.map((name) => names.indexOf(name)), taken = new Set();
  return rows.map((row) => {
    const frame = number(row[names.indexOf("frame")]);
    if (!Number.isSafeInteger(frame)) refuse("has a row without the number of its frame");
    if (taken.has(frame)) refuse(`holds frame ${frame} twice`);
    taken.add(frame);
    const joints = inPairs(columns.map((c) => number(row[c])));
    return { frame, joints: joints.some((joint) => joint) ? joints : null };
  });
}

/** Numbers two by two, null in place of two of which one is NaN. */
const inPairs = (numbers) => Array.from({ length: numbers.length / 2 }, (_, j) => {
  const pair = [numbers[2 * j], numbers[2 * j + 1]];
  return pair.some(Number.isNaN) ? null : pair;
});

/** The people in OpenPose's files, one a frame: { names: of all frames, people: [{ name, keypoints: [x, y, score, ...] }] }. */
function openPose(files, refuse) {
  const found = files.map(({ name, text }) => {
    const { people } = readJSON(text, (why) => { throw new Error(`${name} ${why}.`); });
    if (!Array.isArray(people)) refuse(`is a frame of OpenPose, but ${name} is not; choose files of one kind`);
    return people.filter((person) => person?.pose_keypoints_2d?.length).map((person) => ({ name, keypoints: person.pose_keypoints_2d }));
  });
  return { names: files.map(({ name }) => name), people: found.flat() };
}

const isCOCO = (content) => Boolean(content?.annotations || content?.instance_info || content?.[0]?.keypoints);

/** The people in keypoint results, as openPose gives them. */
function keypointResults(content, refuse) {
  try {
    if (content.instance_info) {
      const people = content.instance_info.flatMap(({ frame_id, instances }) => instances.map(({ keypoints, keypoint_scores }) => (
        { name: String(frame_id), keypoints: keypoints.map((point, k) => [...point, keypoint_scores[k]]) })));
      return { names: content.instance_info.map(({ frame_id }) => String(frame_id)), people };
    }
    const images = new Map((content.images || []).map(({ id, file_name }) => [id, String(file_name)]));
    const people = (content.annotations || content).map(({ image_id, keypoints }) => (
      { name: images.get(image_id) ?? String(image_id), keypoints }));
    return { names: [...new Set([...images.values(), ...people.map(({ name }) => name)])], people };
  } catch {
    return refuse("is not a list of keypoint results");
  }
}

/** People with x, y, score of each keypoint, in frames whose order their names tell. */
function fromPeople({ names, people }, layouts, refuse) {
  if (new Set(people.map(({ name }) => name)).size < people.length) severalPeople(refuse);
  const number = frameNumbers(names, refuse), seen = new Map();
  for (const { name, keypoints } of people) {
    const values = Array.isArray(keypoints) ? keypoints.flat() : [];
    if (!values.length || values.length % 3) refuse(`has a person of ${values.length} values, not x, y and score of each keypoint`);
    seen.set(name, values.map((value) => value ?? NaN));
  }
  const points = [...seen.values()].map((values) => Array.from({ length: values.length / 3 }, (_, k) => {
    const [x, y, score] = values.slice(3 * k, 3 * k + 3);
    return score > 0 && (x || y) && x === x && y === y ? [x, y] : null;
  }));
  const joints = toJoints(points, layouts, refuse), place = new Map([...seen.keys()].map((name, i) => [name, i]));
  return names.map((name, i) => ({ frame: number[i], joints: joints[place.get(name)] || null }));
}

const severalPeople = (refuse) => refuse("has more than one person in a frame; follow one with `gaitlib prepare`");

/** The numbers of frames in their names: the last number that is not the same in all of them. */
function frameNumbers(names, refuse) {
  if (names.length < 2) return [0];
  const each = names.map((name) => name.match(/\d+/g) || []), agree = each.every((numbers) => numbers.length === each[0].length);
  const columns = agree ? each[0].map((_, c) => each.map((numbers) => Number(numbers[c]))) : [];
  const numbers = columns.findLast((column) => new Set(column).size > 1);
  return numbers && new Set(numbers).size === names.length ? numbers : refuse("has frames whose names do not tell their order");
}

/** MediaPipe's landmarks, a list of frames; shares of an image become heights of it. */
function fromLandmarks(content, layouts, refuse) {
  const size = ["width", "height"].map((key) => content?.[key] ?? content?.[`image_${key}`]);
  const frames = Array.isArray(content) ? content : content?.frames ?? content?.pose_landmarks ?? content?.landmarks;
  if (!Array.isArray(frames)) refuse("holds poses in no format that this page reads");
  const people = frames.map((frame) => {
    const found = Array.isArray(frame) ? frame : frame?.pose_landmarks ?? frame?.landmarks ?? [];
    if (!found.length) return null;
    const several = Array.isArray(found[0]) && typeof found[0][0] === "object";
    if (several && found.length > 1) severalPeople(refuse);
    return several ? found[0] : found;
  });
  const seen = people.filter(Boolean);
  if (seen.some((person) => person.length !== 33)) refuse("holds poses in no format that this page reads");
  const given = (value) => (typeof value === "number" ? value : NaN);
  const rows = seen.flat().map((p) => (Array.isArray(p) ? p : [p?.x, p?.y, 0, p?.visibility ?? 1]).map(given));
  const third = rows.map((row) => row[2]), isScore = third.every((z) => !(z < 0 || z > 1)) && third.some((z) => z);
  const score = (row) => (row.length > 3 ? row[3] : row.length === 3 && isScore ? row[2] : 1);
  const areShares = median(rows.flatMap((row) => row.slice(0, 2)).map(Math.abs)) <= LARGEST_SHARE;
  const isSized = size.every((side) => side > 0), [width, height] = !areShares ? [1, 1] : isSized ? size : [ASPECT, 1];
  const points = rows.map((row) => (
    score(row) > 0 && (row[0] || row[1]) && row[0] === row[0] && row[1] === row[1] ? [row[0] * width, row[1] * height] : null));
  const joints = toJoints(seen.map((_, i) => points.slice(33 * i, 33 * i + 33)), layouts, refuse);
  let next = 0;
  return people.map((person, frame) => ({ frame, joints: person ? joints[next++] : null }));
}

/** The median of those that are numbers; NaN of none. */
function median(values) {
  const known = Float64Array.from(values.filter((value) => value === value)).sort(), half = known.length >> 1;
  return known.length % 2 ? known[half] : (known[half - 1] + known[half]) / 2;
}

/** Keypoints of another layout, [[x, y] or null, ...] of each pose, to our joints; null in place of a pose that shows nothing. */
function toJoints(poses, { keypoints }, refuse) {
  const count = poses.length ? poses[0].length : 0, sources = keypoints[count];
  if (!count) refuse("shows nobody in any frame");
  if (!sources || poses.some((pose) => pose.length !== count)) refuse(`has ${count} keypoints a person, which is not a known layout`);
  if (count === 25) checkBody25(poses, refuse);
  return poses.map((pose) => (pose.some((point) => point) ? sources.map((from) => {
    const [a, b] = [pose[from[0]], pose[from.at(-1)]];
    return a && b ? [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] : null;
  }) : null));
}

/** BODY_25B has as many keypoints as BODY_25, where 8 is the middle of 9 and 12. */
function checkBody25(poses, refuse) {
  const apart = poses.filter((pose) => pose[8] && pose[9] && pose[12]).map((pose) => {
    const seen = pose.filter((point) => point), side = (axis) => Math.max(...seen.map((p) => p[axis])) - Math.min(...seen.map((p) => p[axis]));
    const [x, y] = [0, 1].map((axis) => pose[8][axis] - (pose[9][axis] + pose[12][axis]) / 2);
    return Math.hypot(x, y) / Math.hypot(side(0), side(1));
  });
  if (median(apart) > HIP_APART) refuse("has 25 keypoints and not the shape of BODY_25; read it with `gaitlib prepare`");
}

/** Poses in the order of their frames, from the first to the last that shows anything: { frames, xy }. */
function inTime(poses) {
  const first = poses.reduce((least, { frame }) => Math.min(least, frame), Infinity);
  const divisor = (a, b) => (b ? divisor(b, a % b) : a);
  const stride = poses.reduce((stride, { frame }) => divisor(stride, frame - first), 0) || 1;
  const ranked = poses.map(({ frame, joints }) => ({ frame: (frame - first) / stride, joints })).sort((a, b) => a.frame - b.frame);
  const jumps = ranked.length && ranked.at(-1).frame > LONGEST_JUMP * ranked.length; // then they only give the order
  const seen = ranked.map(({ frame, joints }, i) => ({ frame: jumps ? i : frame, joints })).filter(({ joints }) => joints);
  const frames = seen.length ? seen.at(-1).frame - seen[0].frame + 1 : 0, size = seen.length ? 2 * seen[0].joints.length : 0;
  const xy = new Float32Array(frames * size).fill(NaN);
  for (const { frame, joints } of seen) {
    joints.forEach((joint, j) => { if (joint) xy.set(joint, (frame - seen[0].frame) * size + 2 * j); });
  }
  return { frames, xy };
}

/** The walk, where it can be used: long enough, and of a size that can be told. */
function checked(walk, { joints, middles, shortest }, refuse) {
  const { frames, xy } = walk;
  if (xy.some((value) => Math.abs(value) > LARGEST_COORDINATE)) refuse("holds a number that is not a coordinate in an image");
  if (frames < shortest) refuse(`has only ${frames} frames, and at least ${shortest} are needed`);
  const has = (t, joint) => !Number.isNaN(xy[2 * (t * joints.length + joint)]);
  for (const [middle, a, b] of middles) {
    const isKnown = Array.from({ length: frames }, (_, t) => has(t, middle) || (has(t, a) && has(t, b))).some(Boolean);
    if (!isKnown) refuse(`has no frame with the ${joints[middle].replace("_", "-")}, without which the size is unknown`);
  }
  return walk;
}
