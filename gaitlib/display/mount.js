for (const el of document.querySelectorAll('[id="FRAGMENT"]:not([data-mounted])')) {
  el.dataset.mounted = "true";
  const state = JSON.parse(el.querySelector("script").textContent);
  const listeners = {};
  render({ el, model: {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; for (const f of listeners[`change:${name}`] || []) f(); },
    save_changes() {},
    on: (event, f) => (listeners[event] ||= []).push(f),
    off: (event, f) => (listeners[event] = (listeners[event] || []).filter((g) => g !== f)),
  } });
}
