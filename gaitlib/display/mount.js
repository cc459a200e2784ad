/** Draw into an element of a page; state: the traits of the widget. */
function mount(el, state) {
  render({ el, model: plainModel({ ...state, is_page: true }) });
}
