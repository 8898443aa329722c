// Keeps the page as the chats are now. Without scripts the page reloads itself instead.
"use strict";

const main = document.querySelector("main");
const state = document.getElementById("state");

// The same words as ago() in page.py.
function ago(then) {
  const seconds = Math.floor((Date.now() - Date.parse(then)) / 1000);
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (seconds >= unit) return `${Math.floor(seconds / unit)} ${name} ago`;
  return "just now";
}

function tick() {
  for (const time of document.querySelectorAll("time")) time.textContent = ago(time.dateTime);
}

// A reader at the end of a channel stays there; what one reads further up stays where it is on the screen.
function keepingPlace(log, change) {
  const top = log.getBoundingClientRect().top;
  const read = log.scrollTop > -40 ? null : [...log.querySelectorAll(".bubble")].find((one) => one.getBoundingClientRect().bottom > top);
  const before = read?.getBoundingClientRect().top;
  change();
  log.scrollTop = read ? log.scrollTop + document.getElementById(read.id).getBoundingClientRect().top - before : 0;
}

// What was open stays open, and what had the focus keeps it.
function replace(old, fresh) {
  const within = (bubble) => [...bubble.querySelectorAll("a, summary")];
  const focused = within(old).indexOf(document.activeElement);
  fresh.querySelector("details").open = old.querySelector("details").open;
  old.replaceWith(fresh);
  within(fresh)[focused]?.focus({preventScroll: true});
}

function addChannel(channel) {
  const link = document.createElement("a");
  link.href = "#" + channel.id;
  link.textContent = channel.querySelector("h2").firstChild.data.trim();
  document.querySelector("nav").append(link);
  main.querySelector(".empty").before(channel);
}

// The server sends a channel with one bubble in it, made by the same template as the page.
function show(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const channel = template.content.querySelector(".channel"), bubble = channel.querySelector(".bubble");
  const here = document.getElementById(channel.id), old = document.getElementById(bubble.id);
  if (old && old.dataset.state === bubble.dataset.state) return;
  bubble.classList.add("fresh");
  if (!here) addChannel(channel);
  else if (old) keepingPlace(here.querySelector(".log"), () => replace(old, bubble));
  else keepingPlace(here.querySelector(".log"), () => {
    const list = here.querySelector("ol");
    list.append(bubble);
    if (list.children.length > 100) list.firstElementChild.remove();
  });
  const count = main.querySelectorAll(".bubble").length;
  document.getElementById("count").textContent = `${count} message${count === 1 ? "" : "s"}`;
}

function connect() {
  const stream = new EventSource("/live");
  stream.onopen = () => { state.textContent = "live"; };
  stream.onmessage = (event) => show(event.data);
  stream.onerror = () => {
    state.textContent = "reconnecting…";
    if (stream.readyState === EventSource.CLOSED) setTimeout(retry, 5000);
  };
}

// The server refused the stream: it restarts, or the login is over and the page asks for it again.
async function retry() {
  const answer = await fetch("/", {method: "HEAD"}).catch(() => null);
  if (answer?.status === 401) location.reload();
  else connect();
}

tick();
setInterval(tick, 15000);
connect();
