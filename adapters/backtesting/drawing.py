"""Pictures of results, as pages that need no network: the one module that imports plotly."""

from __future__ import annotations

from contracts.sweeps import HeatMap, Sweep


def heat_map_page(drawn: HeatMap, sweep: Sweep) -> str:
    """The heat map of a sweep as one HTML page of about 5 MB: what draws it is within."""
    import plotly.graph_objects as go

    figure = go.Figure(
        go.Heatmap(
            z=drawn.values,
            x=drawn.x_labels,
            y=drawn.y_labels or [""],
            colorbar={"title": {"text": f"{drawn.metric} ({drawn.how})"}},
            hoverongaps=False,
            colorscale="Viridis",
        )
    )
    # Labels are categories: as numbers, values that lie far apart would leave gaps.
    figure.update_layout(
        title={"text": f"{sweep.asked.strategy} on {' and '.join(sweep.asked.symbols)}, by {sweep.engine}"},
        xaxis={"title": {"text": drawn.x}, "type": "category"},
        yaxis={"title": {"text": drawn.y}, "type": "category"},
        template="plotly_white",
    )
    return str(figure.to_html(full_html=True, include_plotlyjs=True))
