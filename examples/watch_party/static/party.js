/** The page of a watch party: the entry form, the room, and the final message. */

import { Chat } from "./chat.js";
import { Connection } from "./connection.js";
import { $, element, randomHex, wellFormed } from "./dom.js";
import { Entry } from "./entry.js";
import { People } from "./people.js";
import { ServerClock, positionAt } from "./sync.js";
import { Typing } from "./typing.js";
import { Video } from "./video.js";

// Texts for the reasons why a party ends. The entry form shows the other reasons, which the guest can correct there.
const ENDINGS = {
  closed: ["The room is closed", "The host ended the party, or the room was removed."],
  closedByYou: ["The room is closed", "You ended the party."],
  expired: ["The room has expired", "Nothing changed in the room for too long, so it was deleted."],
  full: ["The room is full", "You can join when somebody leaves."],
  left: ["You have left the room", "The party continues without you."],
};
const REJECTIONS = {
  notHost: "Only the host can do this.",
  badVideo: "This is not a link to a video. Links begin with https://",
  notVideo: "This link is not a video. Use a YouTube link, or a link to a video file (.mp4, .webm, .ogv or .m4v).",
  tooLong: "The text is too long. Shorten it and try again.",
};

const clock = new ServerClock();
const send = (message) => connection?.send(message) ?? false;
const nameOf = (id) => room?.users.find((user) => user.id === id)?.name ?? "";
const chat = new Chat({
  send: (id, text) => send({ type: "say", id, text }),
  react: (id, emoji, on) => request({ type: "react", id, emoji, on }),
  remove: (id) => request({ type: "delete", id }),
  nameOf,
});
const entry = new Entry(enterFromForm);
const people = new People();
const typing = new Typing($("typing"), $("text"), { send: () => send({ type: "typing" }), nameOf });
const video = new Video(clock, send);

let connection = null;
let me = null; // the identity of this tab: { name, key, room }
let room = null; // the last state from the server, with all events since then applied
let you = ""; // this user's id
let creating = false; // this user has asked the server to create a room
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

function show(section, title) {
  for (const id of ["entry", "ended", "party"]) $(id).hidden = id !== section;
  $("room-bar").hidden = section !== "party";
  $(title).focus();
}

function showEntry() {
  leaveRoom();
  const name = localStorage.getItem("party:name") ?? "";
  entry.fill(name, codeInAddress());
  show("entry", name ? "entry-title" : "name");
}

function codeInAddress() {
  const [code = ""] = location.hash.replaceAll("%20", " ").match(/[\w.:-]+/) ?? [];
  return code.toUpperCase();
}

function enterFromForm({ name, code, creates }) {
  const key = creates ? randomHex() : (loadIdentity(code)?.key ?? randomHex());
  enter({ name, key, room: code }, creates);
}

// ---- The connection

function enter(identity, creates = false) {
  me = identity;
  creating = creates;
  closing = false;
  status("Connecting …");
  connection?.close();
  connection = new Connection({
    hello: () => ({ type: creating ? "create" : "join", ...me }),
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

/** Send a request that is not repeated after a reconnect. */
function request(message) {
  if (!send(message)) flash("No connection. Try again in a moment.", 3000);
}

function leaveRoom() {
  connection?.close();
  connection = null;
  room = null;
  video.close();
  chat.clear();
  typing.clear();
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
      return receiveRejection(message);
    case "messageAdded":
      typing.stop(message.message.userId);
      return chat.add(message.message);
    case "messageChanged":
      return chat.change(message.message);
    case "messageRemoved":
      if (chat.remove(message.messageId)) flash("Message deleted.", 1500);
      return undefined;
    case "messagesCleared":
      chat.replace([]);
      return chat.announce("The chat was cleared.");
    case "appEvent":
      if (message.name === "typing" && message.value?.userId !== you) typing.show(message.value?.userId);
      return undefined;
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
  creating = false;
  saveIdentity(me);
  history.replaceState(null, "", `#${room.id}`);
  document.title = `Room ${room.id} · Watch party`;
  document.body.classList.remove("offline");
  status("");
  if (first) {
    $("party-title").textContent = `Room ${room.id}`;
    show("party", "party-title");
  }
  chat.configure(message);
  chat.replace(message.messages);
  render();
}

function receiveRejection({ id, reason }) {
  if (!id) return video.showNotice(REJECTIONS[reason]);
  const text = chat.reject(id);
  $("text").value ||= text;
  return flash(REJECTIONS[reason], 5000);
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
      video.chosen();
      [room.videoUrl, room.videoType, room.videoState] = [event.videoUrl, event.videoType, event.videoState];
      break;
    case "videoStateChanged":
      room.videoState = event.videoState;
      break;
  }
}

function end(reason) {
  const wasInside = room !== null;
  leaveRoom();
  if (reason === "left") sessionStorage.setItem(`party:${me.room}`, JSON.stringify({ ...me, name: "" }));
  if (wasInside && reason === "noRoom") reason = "closed";
  if (closing && reason === "closed") reason = "closedByYou";
  if (reason in ENDINGS) {
    [$("ended-title").textContent, $("ended-text").textContent] = ENDINGS[reason];
    show("ended", "ended-title");
  } else {
    show("entry", "entry-title");
    entry.fill(me.name, me.room);
    entry.reject(reason);
  }
}

// ---- The room

function render() {
  const host = room.hostId === you;
  $("code").textContent = room.id;
  people.show(room, you);
  typing.render();
  $("close").hidden = !host;
  video.show(room, host);
}

// ---- The guest's actions

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = wellFormed($("text").value.trim());
  if (text) chat.say(text, me.name);
  typing.sent();
  $("text").value = "";
});
$("copy-code").addEventListener("click", () => copy($("copy-code"), room.id));
for (const id of ["copy-link", "copy-invitation"]) $(id).addEventListener("click", () => copy($(id), location.href));
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
  button.dataset.label ??= button.textContent;
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
  setTimeout(() => (button.textContent = button.dataset.label), 1500);
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
