"""The page of `ftsdk serve`: jobs of all providers, one job, a new job, jobs compared.

HTML is made by functions that escape everything (`html`), inside one layout (`layout`). Charts are SVG. A
route is one line of `routes.PAGE_ROUTES`, which also says what a request needs. To add a page: write a
function that returns `layout.document(...)`, a method that calls it in `routes.PageRoutes`, and the line.
"""
