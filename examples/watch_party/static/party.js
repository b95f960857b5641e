/** The page of a watch party: the door, the room, and the end. */

import { Chat, element, hueOf } from "./chat.js";
import { Connection } from "./connection.js";
import { ServerClock, positionAt } from "./sync.js";
import { Video } from "./video.js";

// Why a party ends, or does not begin. Those at the door can be mended there.
const ENDS = {
  closed: ["The room is closed", "The party is over: the host ended it, or the room was removed."],
  expired: ["The room has expired", "Nobody changed anything in it for so long that it was forgotten."],
  full: ["The room is full", "Nobody else can come in until somebody leaves."],
  left: ["You have left the room", "The others may still be there."],
};
const AT_THE_DOOR = {
  noRoom: "There is no room of that code. It was closed, has expired, or the code is mistyped.",
  nameTaken: "Somebody in the room has that name already. Choose another.",
  badName: "A name has 1 to 40 letters that can be seen.",
  tooFast: "That was too often. Wait a minute, and try again.",
  tooSlow: "That took too long. Try again.",
  tooLong: "That is longer than this party allows: try a shorter name.",
};
const REFUSALS = {
  notHost: "Only the host can do that.",
  badVideo: "That is no link to a video: it begins with https://",
  tooLong: "That is longer than this party allows.",
};

const $ = (id) => document.getElementById(id);
const clock = new ServerClock();
const send = (message) => connection?.send(message) ?? false;
const chat = new Chat($("log"), $("messages"), (id, text) => send({ type: "say", id, text }));
const video = new Video(clock, send);

let connection = null;
let me = null; // { name, key, room }: who this tab is
let room = null; // as the server told it last, with the events since then
let you = ""; // this user's id

// ---- The door

/** Return who this tab is in a room: the key proves it after a reload, and the host's is the room's host token. */
function remembered(code) {
  return JSON.parse(sessionStorage.getItem(`party:${code}`) ?? "null");
}

function remember(who) {
  sessionStorage.setItem(`party:${who.room}`, JSON.stringify(who));
  localStorage.setItem("party:name", who.name);
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function wellFormed(text) {
  return text.toWellFormed?.() ?? text;
}

function show(section, title) {
  for (const id of ["door", "over", "party"]) $(id).hidden = id !== section;
  $("room-bar").hidden = section !== "party";
  $(title).focus();
}

function openDoor(problem = "") {
  leaveRoom();
  $("name").value ||= localStorage.getItem("party:name") ?? "";
  $("room").value = codeInAddress();
  $("join").classList.toggle("quiet", !$("room").value);
  $("create").classList.toggle("quiet", Boolean($("room").value));
  show("door", $("name").value || problem ? "door-title" : "name");
  $("door-problem").textContent = problem;
}

function codeInAddress() {
  const [code = ""] = location.hash.replaceAll("%20", " ").match(/[\w.:-]+/) ?? [];
  return code.toUpperCase();
}

$("door-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const code = $("room").value.trim().toUpperCase();
  const name = wellFormed($("name").value.trim());
  const creates = event.submitter?.value === "create";
  if (!name) {
    $("door-problem").textContent = AT_THE_DOOR.badName;
    $("name").focus();
  } else if (!creates && !code) {
    $("door-problem").textContent = "Type the code of the room, or create one.";
    $("room").focus();
  } else {
    const key = creates ? newKey() : (remembered(code)?.key ?? newKey());
    enter({ name, key, room: creates ? "" : code });
  }
});

// ---- The connection

function enter(who) {
  me = who;
  $("door-problem").textContent = "";
  status("Connecting …");
  connection?.close();
  connection = new Connection({
    hello: () => ({ type: me.room ? "join" : "create", ...me }),
    message: receive,
    away: (reason) => {
      clock.reset();
      document.body.classList.add("away");
      status(`No connection${reason ? ` (${reason})` : ""}. Trying again …`);
    },
    pinged: (sent, now) => clock.add(sent, now),
  });
}

function status(text) {
  $("status").textContent = text;
}

/** Say something for a while, unless there is something else to say by then. */
function flash(text, milliseconds) {
  status(text);
  setTimeout(() => $("status").textContent === text && status(""), milliseconds);
}

function leaveRoom() {
  connection?.close();
  connection = null;
  room = null;
  video.close();
  chat.clear();
  status("");
  document.body.classList.remove("away");
  document.title = "Watch party";
}

function receive(message) {
  switch (message.type) {
    case "state":
      return receiveAll(message);
    case "end":
      return end(message.reason);
    case "said":
      return chat.arrived(message.id);
    case "tooFast":
      setTimeout(() => chat.sendAgain(), message.seconds * 1000);
      return flash("That was too often. What you said is sent in a moment.", message.seconds * 1000);
    case "refused":
      if (!message.id) return video.notice(REFUSALS[message.reason]);
      $("text").value ||= chat.takeBack(message.id);
      return flash(REFUSALS[message.reason], 5000);
    case "messageAdded":
      return chat.add(message.message);
    default:
      change(message);
      return render();
  }
}

/** The whole room, on coming in and on coming back. */
function receiveAll(message) {
  const first = room === null;
  room = message.room;
  you = message.you;
  me.room = room.id;
  remember(me);
  history.replaceState(null, "", `#${room.id}`);
  document.title = `Room ${room.id} · Watch party`;
  document.body.classList.remove("away");
  status("");
  if (first) {
    $("party-title").textContent = `Room ${room.id}`;
    show("party", "party-title");
  }
  chat.replace(message.messages, message);
  render();
}

/** What happened in the room: the same that the store did. */
function change(event) {
  switch (event.type) {
    case "userJoined":
      room.users = [...room.users.filter((user) => user.id !== event.user.id), event.user];
      chat.tell(`${event.user.name} came in.`);
      break;
    case "userLeft":
      room.users = room.users.filter((user) => user.id !== event.user.id);
      chat.tell(`${event.user.name} left.`);
      break;
    case "hostChanged":
      [room.hostId, room.hostName] = [event.hostId, event.hostName];
      chat.tell(event.hostId === you ? "You are the host now." : `${event.hostName} is the host now.`);
      break;
    case "videoSet":
      [room.videoUrl, room.videoType, room.videoState] = [event.videoUrl, event.videoType, event.videoState];
      chat.tell("Another video was chosen.");
      break;
    case "videoStateChanged":
      room.videoState = event.videoState;
      break;
  }
}

function end(reason) {
  const wasInside = room !== null;
  const code = me.room;
  leaveRoom();
  if (reason === "left") sessionStorage.setItem(`party:${code}`, JSON.stringify({ ...me, name: "" }));
  if (wasInside && reason === "noRoom") reason = "closed";
  if (reason in ENDS) {
    [$("over-title").textContent, $("over-text").textContent] = ENDS[reason];
    show("over", "over-title");
  } else {
    openDoor(AT_THE_DOOR[reason]);
    if (reason === "noRoom") $("room").value = code;
  }
}

// ---- The room

function render() {
  const host = room.hostId === you;
  $("code").textContent = room.id;
  $("count").textContent = room.users.length;
  $("people").replaceChildren(...room.users.map(person));
  $("close").hidden = !host;
  video.show(room, host);
}

function person(user) {
  const line = element("li", user.id === room.hostId ? "host" : "");
  line.dataset.id = user.id;
  const face = element("span", "face", [...user.name][0].toUpperCase());
  face.setAttribute("aria-hidden", "true");
  face.style.setProperty("--hue", hueOf(user.id));
  line.append(face, element("span", "name", user.name));
  if (user.id === you) line.append(element("span", "tag", "you"));
  if (user.id === room.hostId) line.append(element("span", "tag gold", "host"));
  return line;
}

// ---- What the guest does

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = wellFormed($("text").value.trim());
  if (text) chat.say(text, me.name);
  $("text").value = "";
});
$("copy-code").addEventListener("click", () => copy($("copy-code"), room.id));
$("copy-link").addEventListener("click", () => copy($("copy-link"), location.href));
$("close").addEventListener("click", () => {
  if (confirm("End the party for everybody in the room?")) send({ type: "close" });
});
$("leave").addEventListener("click", () => {
  // Without a connection the server notices by itself.
  if (!send({ type: "leave" })) end("left");
});
$("again").addEventListener("click", () => {
  history.replaceState(null, "", location.pathname);
  openDoor();
});

async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard on a page that came over plain HTTP from another machine.
    const field = element("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  button.textContent = "Copied";
  flash("Copied.", 1500);
  setTimeout(() => (button.textContent = label), 1500);
}

// ---- The start

function start() {
  const who = remembered(codeInAddress());
  if (who?.name) enter(who);
  else openDoor();
}

addEventListener("hashchange", () => {
  if (codeInAddress() === room?.id) return;
  leaveRoom();
  start();
});

/** For the browser's console, and for tests. */
window.watchParty = {
  position: () => video.position, // seconds
  drift: () => video.position - positionAt(room.videoState, clock.now()),
};

start();
