export default function mount({ view }) { view.append("dashboard"); }
