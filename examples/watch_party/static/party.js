/** The page of a watch party: the entry form, the room, and the final message. */

import { Chat, element, hueOf } from "./chat.js";
import { Connection } from "./connection.js";
import { ServerClock, positionAt } from "./sync.js";
import { Video } from "./video.js";

// Texts for the reasons why a party ends. The entry form shows the errors that the guest can correct there.
const ENDINGS = {
  closed: ["The room is closed", "The host ended the party, or the room was removed."],
  closedByYou: ["The room is closed", "You ended the party."],
  expired: ["The room has expired", "Nothing changed in the room for too long, so it was deleted."],
  full: ["The room is full", "You can join when somebody leaves."],
  left: ["You have left the room", "The party continues without you."],
};
const ENTRY_ERRORS = {
  noRoom: "No room with this code. Check it, or ask the host for a new link.",
  nameTaken: "Someone in the room already has this name. Choose another name.",
  badName: "Enter a name (up to 40 characters).",
  tooFast: "Too many attempts. Wait a minute and try again.",
  tooSlow: "Joining took too long. Try again.",
  tooLong: "This name is too long. Enter a shorter name.",
};
const REJECTIONS = {
  notHost: "Only the host can do this.",
  badVideo: "This is not a link to a video. Links begin with https://",
  tooLong: "The text is too long. Shorten it and try again.",
};

const $ = (id) => document.getElementById(id);
const clock = new ServerClock();
const send = (message) => connection?.send(message) ?? false;
const chat = new Chat($("log"), $("messages"), (id, text) => send({ type: "say", id, text }));
const video = new Video(clock, send);

let connection = null;
let me = null; // the identity of this tab: { name, key, room }
let room = null; // the last state from the server, with all events since then applied
let you = ""; // this user's id
let closing = false; // this user has asked the server to end the party

// ---- The entry form

/** Return the identity of this tab in a room. The key proves it after a reload. The host's key is the host token. */
function loadIdentity(code) {
  return JSON.parse(sessionStorage.getItem(`party:${code}`) ?? "null");
}

function saveIdentity(identity) {
  sessionStorage.setItem(`party:${identity.room}`, JSON.stringify(identity));
  localStorage.setItem("party:name", identity.name);
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function wellFormed(text) {
  return text.toWellFormed?.() ?? text;
}

function show(section, title) {
  for (const id of ["entry", "ended", "party"]) $(id).hidden = id !== section;
  $("room-bar").hidden = section !== "party";
  $(title).focus();
}

function showEntry(error = "") {
  leaveRoom();
  $("name").value ||= localStorage.getItem("party:name") ?? "";
  $("room").value = codeInAddress();
  $("join").classList.toggle("quiet", !$("room").value);
  $("create").classList.toggle("quiet", Boolean($("room").value));
  show("entry", $("name").value || error ? "entry-title" : "name");
  $("entry-error").textContent = error;
}

function codeInAddress() {
  const [code = ""] = location.hash.replaceAll("%20", " ").match(/[\w.:-]+/) ?? [];
  return code.toUpperCase();
}

$("entry-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const code = $("room").value.trim().toUpperCase();
  const name = wellFormed($("name").value.trim());
  const creates = event.submitter?.value === "create";
  if (!name) {
    $("entry-error").textContent = ENTRY_ERRORS.badName;
    $("name").focus();
  } else if (!creates && !code) {
    $("entry-error").textContent = "Enter a room code, or create a room.";
    $("room").focus();
  } else {
    const key = creates ? newKey() : (loadIdentity(code)?.key ?? newKey());
    enter({ name, key, room: creates ? "" : code });
  }
});

// ---- The connection

function enter(identity) {
  me = identity;
  closing = false;
  $("entry-error").textContent = "";
  status("Connecting …");
  connection?.close();
  connection = new Connection({
    hello: () => ({ type: me.room ? "join" : "create", ...me }),
    message: receive,
    disconnected: (reason) => {
      clock.reset();
      document.body.classList.add("offline");
      status(`No connection${reason ? ` (${reason})` : ""}. Trying again …`);
    },
    ponged: (sent, now) => clock.add(sent, now),
  });
}

function status(text) {
  $("status").textContent = text;
}

/** Show a status for a limited time, unless another status replaces it. */
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
  document.body.classList.remove("offline");
  document.title = "Watch party";
}

function receive(message) {
  switch (message.type) {
    case "state":
      return receiveState(message);
    case "end":
      return end(message.reason);
    case "stored":
      return chat.confirm(message.id);
    case "tooFast":
      setTimeout(() => chat.resend(), message.seconds * 1000);
      return flash("Too many messages. Your message will be sent in a moment.", message.seconds * 1000);
    case "rejected":
      if (!message.id) return video.showNotice(REJECTIONS[message.reason]);
      $("text").value ||= chat.reject(message.id);
      return flash(REJECTIONS[message.reason], 5000);
    case "messageAdded":
      return chat.add(message.message);
    default:
      applyEvent(message);
      return render();
  }
}

/** Show the complete state of the room, which the server sends after each connection. */
function receiveState(message) {
  const first = room === null;
  room = message.room;
  you = message.you;
  me.room = room.id;
  saveIdentity(me);
  history.replaceState(null, "", `#${room.id}`);
  document.title = `Room ${room.id} · Watch party`;
  document.body.classList.remove("offline");
  status("");
  if (first) {
    $("party-title").textContent = `Room ${room.id}`;
    show("party", "party-title");
  }
  chat.replace(message.messages, message);
  render();
}

/** Apply an event of the store to the room. */
function applyEvent(event) {
  switch (event.type) {
    case "userJoined":
      room.users = [...room.users.filter((user) => user.id !== event.user.id), event.user];
      chat.announce(`${event.user.name} joined.`);
      break;
    case "userLeft":
      room.users = room.users.filter((user) => user.id !== event.user.id);
      chat.announce(`${event.user.name} left.`);
      break;
    case "hostChanged":
      [room.hostId, room.hostName] = [event.hostId, event.hostName];
      chat.announce(event.hostId === you ? "You are now the host." : `${event.hostName} is now the host.`);
      break;
    case "videoSet":
      chat.announce(`${room.hostName} ${room.videoUrl ? "changed the" : "chose a"} video.`);
      [room.videoUrl, room.videoType, room.videoState] = [event.videoUrl, event.videoType, event.videoState];
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
  if (closing && reason === "closed") reason = "closedByYou";
  if (reason in ENDINGS) {
    [$("ended-title").textContent, $("ended-text").textContent] = ENDINGS[reason];
    show("ended", "ended-title");
  } else {
    showEntry(ENTRY_ERRORS[reason]);
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

// ---- The guest's actions

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = wellFormed($("text").value.trim());
  if (text) chat.say(text, me.name);
  $("text").value = "";
});
$("copy-code").addEventListener("click", () => copy($("copy-code"), room.id));
$("copy-link").addEventListener("click", () => copy($("copy-link"), location.href));
$("close").addEventListener("click", () => {
  if (confirm("End the party for everyone in the room?")) closing = send({ type: "close" });
});
$("leave").addEventListener("click", () => {
  // Without a connection, the server removes the guest when the lease expires.
  if (!send({ type: "leave" })) end("left");
});
$("again").addEventListener("click", () => {
  history.replaceState(null, "", location.pathname);
  showEntry();
});

async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers provide no clipboard API to pages that are loaded over plain HTTP from another machine.
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

// ---- Start

function start() {
  const identity = loadIdentity(codeInAddress());
  if (identity?.name) enter(identity);
  else showEntry();
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
