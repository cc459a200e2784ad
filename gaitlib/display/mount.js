/** Draw the player into an element; state: the traits of SkeletonPlayer, in place of a widget's model. */
function mount(el, state) {
  const listeners = {};
  render({ el, model: {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; for (const f of listeners[`change:${name}`] || []) f(); },
    save_changes() {},
    on: (event, f) => (listeners[event] ||= []).push(f),
    off: (event, f) => (listeners[event] = (listeners[event] || []).filter((g) => g !== f)),
  } });
}
